"""Whether a directory holds exactly the files that a run judged, and nothing else that could be loaded."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.intake.adapter import open_adapter
from unlearn_guard.intake.folder import is_small_text
from unlearn_guard.intake.opening import open_checkpoint
from unlearn_guard.records import Checkpoint

BESIDE = re.compile(
    r"(README|LICENSE|NOTICE|CHANGELOG|USE_POLICY)(\.[A-Za-z0-9]{1,8})?|[^/]{1,64}\.md|\.gitattributes|\.gitignore"
    r"|\.cache/huggingface/.*|\.eval_results/[^/]*\.yaml",
    re.IGNORECASE | re.DOTALL,
)
"""What may lie beside the judged files if it is a small text: the card, the licence, what hub clients leave behind."""


def assert_judged(judged: Checkpoint, place: Path, run_dir: Path) -> None:
    """Refuse a directory that is not the candidate of this run, byte for byte.

    Raises UsageError naming each file that is missing or differs, and each that was not judged; and where run.json
    names no files, or those of another model.
    """
    if not judged.files:
        raise UsageError(f"{run_dir} does not say which files it judged", fix="Run check again: it records them.")
    if defects := other_bytes(judged.files, place):
        fix = "Let `check --release DIR` write the judged files alone, and name DIR as the candidate; or check again."
        raise UsageError(f"{place} is not what {run_dir} judged, and nothing else", defects, fix=fix)
    # The list of files is run.json's word; the digest is what every measurement carries.
    if (found := _digest_of(judged, str(place))) != judged.digest:
        raise UsageError(
            f"{place} is not what {run_dir} judged: its run.json lists the files of another model",
            [Defect(where="run.json: candidate.files", found=f"a model {found}", expected=judged.digest)],
            fix="Run check on it.",
        )


def _digest_of(judged: Checkpoint, place: str) -> str:
    """What the candidate in this directory is known by; an adapter's depends on the base that it was judged on."""
    if judged.adapter is None:
        return open_checkpoint(place).checkpoint.digest
    return open_adapter(place).digest_on(judged.adapter.base, judged.adapter.peft)


def other_bytes(judged: Mapping[str, str], directory: Path) -> list[Defect]:
    """Each judged file that is missing or differs, and each file beside them that may not stand there."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    paths = {path.relative_to(directory).as_posix(): path for path in _files(directory)}
    found = {name: _sha256(paths[name]) for name in judged if name in paths}
    defects = [
        Defect(where=name, found=found[name][:16] if name in found else "no such file", expected=digest[:16])
        for name, digest in sorted(judged.items())
        if found.get(name) != digest
    ]
    return defects + [
        Defect(where=name, found="a file that was not judged", expected="none, or a small text such as README.md")
        for name, path in sorted(paths.items())
        if name not in judged and not (BESIDE.fullmatch(name) and is_small_text(path))
    ]


def _files(directory: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(directory, onerror=fail):
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        if linked:
            raise UsageError(f"{Path(folder) / linked[0]} is a linked folder", fix="Copy it into the checkpoint.")
        for name in sorted(names):
            path = Path(folder) / name
            if not path.is_file():
                raise UsageError(f"{path} is neither a file nor a folder", fix="Remove it, or judge a clean copy.")
            yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
