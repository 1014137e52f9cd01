"""The run directory: run.json, written last, and the files it lists by digest: answers, edge scores, weight counts.

A directory without run.json is not a finished run. What is read is checked: schema, types, finite
numbers, the digest of each file beside it, and that the verdict is the one the checks give.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reading import strict_json
from unlearn_guard.records import Run, Sample, TaskScore
from unlearn_guard.runs import run_json, samples
from unlearn_guard.runs.atomic import HALF_WRITTEN, storage_error, write_bytes
from unlearn_guard.runs.claim import MARKER, claim

RUN_FILE = "run.json"
LOG = "libraries.log"
"""What the libraries themselves printed."""

ATTRIBUTION = "attribution"
"""The folder of edge scores, one file a task, precision and side, written before run.json."""

WEIGHTS = "weights"
"""The folder of counts by layer (`drift_file`), written before run.json."""

RESIDUE = "residue"
"""The folder of what was tried to have forgotten knowledge back (`trials_file`), written before run.json."""

REPORT = "report.html"
"""What people read; made from the rest, so not listed."""

ITEMS = "report.items.html"
"""The page of single items beside it."""

_FOLDERS = {samples.FOLDER: "*.jsonl", ATTRIBUTION: "*.json", WEIGHTS: "*.json", RESIDUE: "*.json"}
_WRITTEN_BEFORE = (ATTRIBUTION, WEIGHTS, RESIDUE)
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOnDisk:
    """A run, the digest of its run.json, and the names of the files that run.json lists and that match it."""

    run: Run
    digest: str
    files: tuple[str, ...]


def write_run(run: Run, scores: Sequence[TaskScore], out: Path) -> Path:
    """Write the run and its answers into `out`, and return the path of run.json.

    An earlier run there is replaced: its run.json goes first, the new one comes last, so that at no
    moment a verdict stands beside answers that are not its own. The same values give the same bytes.
    Raises RunDirectoryError when `out` is taken or foreign, StorageError when it cannot be written.
    """
    sides = {run.base.digest: "base", run.candidate.digest: "candidate"}
    if run.retrained is not None:
        sides.setdefault(run.retrained.digest, "retrained")
    lines = {
        samples.file_name(score.task.name, score.precision, sides[score.subject]): samples.to_lines(score.samples)
        for score in scores
    }
    encoded = run_json.encode(run)
    with claim(out):
        clear(out, keep=_WRITTEN_BEFORE)
        files = {name: _listed(content) for name, content in (*lines.items(), *_beside(out))}
        for name, content in lines.items():
            write_bytes(out / name, content)
        write_bytes(out / RUN_FILE, strict_json.pretty({**encoded, "files": dict(sorted(files.items()))}))
    return out / RUN_FILE


def _listed(content: bytes) -> dict[str, Any]:
    return {"sha256": strict_json.digest(content), "lines": content.count(b"\n")}


def _beside(out: Path) -> Iterator[tuple[str, bytes]]:
    """What earlier stages of this run wrote."""
    for folder in _WRITTEN_BEFORE:
        for path in sorted((out / folder).glob(_FOLDERS[folder])):
            yield f"{folder}/{path.name}", path.read_bytes()


def read_run(directory: Path) -> Run:
    """The run in `directory`, or a RunDirectoryError that names each file and field at fault."""
    return open_run(directory).run


def open_run(directory: Path) -> RunOnDisk:
    """The run in `directory` and what lies beside it; raises as `read_run` does."""
    data = _read(directory)
    try:
        content = strict_json.loads(data)
    except ValueError as error:
        raise _error(directory, [(RUN_FILE, str(error))]) from error
    _check_schema(directory, content)
    try:
        run, files = run_json.decode(data)
    except run_json.InvalidRunError as error:
        raise _error(directory, [(f"{RUN_FILE}: {field}", what) for field, what in error.problems]) from error
    _check_files(directory, files)
    return RunOnDisk(run=run, digest=strict_json.digest(data), files=tuple(files))


def read_samples(directory: Path, task: str, precision: str, side: str) -> tuple[Sample, ...]:
    """The answers of `base` or `candidate` (`side`), in the order asked. The run must have been read."""
    name = samples.file_name(task, precision, side)
    try:
        return samples.from_lines((directory / name).read_bytes())
    except OSError as error:
        raise _error(directory, [(name, error.strerror or str(error))]) from error
    except ValueError as error:
        raise _error(directory, [(name, str(error))]) from error


def clear(out: Path, *, keep: Sequence[str] = ()) -> None:
    """Take away an earlier run's verdict, then its answers: what is being measured anew has no verdict yet."""
    try:
        for name in (REPORT, ITEMS, RUN_FILE):
            (out / name).unlink(missing_ok=True)
        for folder, kind in _FOLDERS.items():
            for path in sorted((out / folder).glob(kind)) if folder not in keep else ():
                path.unlink()
        for place in (out, *(out / folder for folder in _FOLDERS)):
            for path in place.glob(HALF_WRITTEN):  # by a run that was killed; no other writes here now
                path.unlink()
    except OSError as error:
        raise storage_error(out, error) from error


def abandon(out: Path) -> None:
    """Leave nothing of a run that was refused before it measured; an earlier finished run in `out` stays."""
    if (out / RUN_FILE).exists():
        return
    (out / LOG).unlink(missing_ok=True)
    if [each.name for each in out.iterdir()] == [MARKER]:
        (out / MARKER).unlink()
        out.rmdir()


def _read(directory: Path) -> bytes:
    path = directory / RUN_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = "this run was not finished" if (directory / samples.FOLDER).is_dir() else "this is not a run directory"
        raise RunDirectoryError(
            f"{directory}: cannot read {RUN_FILE} ({error.strerror or error}); {reason}",
            fix="Give the directory that `unlearn-guard check` wrote with --out, or run the check again.",
        ) from error
    if len(data) > MAX_BYTES:
        raise _error(directory, [(RUN_FILE, f"more than {MAX_BYTES} bytes")])
    return data


def _check_schema(directory: Path, content: Any) -> None:
    if not isinstance(content, dict):
        raise _error(directory, [(RUN_FILE, "not an object")])
    schema = content.get("schema")
    if schema != run_json.SCHEMA:
        raise RunDirectoryError(
            f"{directory}: this version cannot read the run",
            [Defect(where=f"{RUN_FILE}: schema", found=repr(schema)[:80], expected=run_json.SCHEMA)],
            fix="Read it with the version of unlearn-guard that wrote it, or run the check again.",
        )


def _check_files(directory: Path, files: dict[str, str]) -> None:
    problems = []
    for name, expected in files.items():
        folder, _, leaf = name.partition("/")
        if folder not in _FOLDERS or not leaf or "/" in leaf or leaf.startswith("."):
            problems.append((f"{RUN_FILE}: files", f"{name!r} is not a file of {'/, '.join(_FOLDERS)}/"))
            continue
        try:
            found = strict_json.digest((directory / name).read_bytes())
        except OSError as error:
            problems.append((name, error.strerror or str(error)))
            continue
        if found != expected:
            problems.append((name, f"{found[:19]}... instead of {expected[:19]}..., so it was edited or damaged"))
    if problems:
        raise _error(directory, problems)


def _error(directory: Path, problems: list[tuple[str, str]]) -> RunDirectoryError:
    return RunDirectoryError(
        f"{directory} is not a run that can be judged: it was edited, damaged, or written by something else",
        [Defect(where=where, found=what, expected="what `check` wrote") for where, what in problems],
        fix="Run the check again.",
    )
