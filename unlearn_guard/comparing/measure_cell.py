"""One cell in a process of its own: `python -m unlearn_guard.comparing.measure_cell`, as `compare` starts it.

The job comes as one line of JSON on standard input. When that input ends, whoever started the process is gone, and
it goes too, with all its children: whatever it was at, the next one takes up. Progress goes to standard output, one
line of JSON each.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, TextIO

from pydantic import TypeAdapter, ValidationError

from unlearn_guard.comparing.cells import Cell, Comparison, request
from unlearn_guard.environment import peak_bytes
from unlearn_guard.errors import ExitStatus, GuardError, TakenError
from unlearn_guard.processes.chatter import chatter_to, terminal
from unlearn_guard.processes.children import end_with
from unlearn_guard.reading import strict_json
from unlearn_guard.runs import cell_file
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.cell_file import CellFile
from unlearn_guard.runs.claim import claim
from unlearn_guard.runs.directory import LOG, open_run
from unlearn_guard.runs.mirror import published

BUSY = 75
"""Exit status: another process has the cell."""

_CANDIDATE, _MADE = "candidate", "candidate.json"


def encode(asked: Comparison, cell: Cell) -> str:
    """The job as one line."""
    return json.dumps({"asked": asdict(asked), "cell": asdict(cell)}, default=str) + "\n"


def decode(line: str) -> tuple[Comparison, Cell]:
    """The job of such a line."""
    job = json.loads(line)
    return TypeAdapter(Comparison).validate_python(job["asked"]), TypeAdapter(Cell).validate_python(job["cell"])


class Lines:
    """Progress as lines of JSON: {"text": what has begun} or {"done": , "of": }."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = 0.0

    def begin(self, text: str) -> None:
        """A stage has begun."""
        self._say(text=text)

    def advance(self, done: int, of: int) -> None:
        """How far it is, at most four times a second."""
        if time.monotonic() - self._told > 0.25:
            self._told = time.monotonic()
            self._say(done=done, of=of)

    def plan(self, steps: int) -> None:
        """How many stages there will be is of no use to who looks at many cells."""

    def hint(self, text: str) -> None:
        """Nothing: `compare` tells its own."""

    def losses(self, forget: float, retain: float | None) -> None:
        """Nor are losses."""

    def _say(self, **values: Any) -> None:
        self._stream.write(json.dumps(values) + "\n")
        self._stream.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of progress, as read."""

    text: str = ""
    done: int | None = None
    of: int | None = None


def told(line: str) -> Told:
    """The line of progress; whatever else a library wrote there says nothing."""
    try:
        return TypeAdapter(Told).validate_json(line)
    except ValidationError:
        return Told()


def measure(asked: Comparison, cell: Cell, lines: Lines) -> CellFile:
    """Make the candidate, check it, and write down what became of it; a finished cell is only read.

    Whatever goes wrong with the cell is its result: `failed`, and why. Raises TakenError where another process
    has it, StorageError where nothing can be written.
    """
    with claim(cell.folder), published(asked.remote, cell.folder, cell.asked) as publish:
        found = cell.found()
        if found is not None and found.state == cell_file.MEASURED:
            publish()
            return found
        cell_file.write_cell(cell.folder, cell.file(state=cell_file.BEGUN))
        publish()
        begin = time.monotonic()
        try:
            with chatter_to(cell.folder / LOG):
                _candidate(asked, cell, lines)
                digest = _check(asked, cell, lines)
            result = cell.file(state=cell_file.MEASURED, run=digest)
        except Exception as error:  # a row that says why: one cell's fault must not take the others' numbers along
            why = str(error) if isinstance(error, GuardError) else f"{type(error).__name__}: {error}"
            result = cell.file(state=cell_file.FAILED, error=why or type(error).__name__)
        seconds = round(time.monotonic() - begin, 3)
        result = result.model_copy(update={"seconds": seconds, "peak_bytes": peak_bytes()})
        cell_file.write_cell(cell.folder, result)
        publish()
        return result


def _candidate(asked: Comparison, cell: Cell, lines: Lines) -> None:
    """The candidate, unless it was made before and is still the same bytes."""
    from unlearn_guard.intake import open_checkpoint
    from unlearn_guard.unlearning.making import UnlearnRequest, unlearn

    path, note = cell.folder / _CANDIDATE, cell.folder / _MADE
    if note.exists():
        lines.begin("open the candidate made before")
        if path.is_dir() and strict_json.loads(note.read_bytes()) == {
            "digest": open_checkpoint(path).checkpoint.digest
        }:
            return
        note.unlink()
    shutil.rmtree(path, ignore_errors=True)
    unlearn(
        UnlearnRequest(
            method=cell.method,
            base=asked.base,
            suite=cell.suite,
            out=path,
            settings=cell.settings,
            methods_dir=asked.methods_dir,
            tasks_dirs=asked.tasks_dirs,
            data_dir=asked.data_dir,
            device=asked.device,
            seed=cell.seed,
        ),
        lines,
    )
    write_bytes(note, strict_json.pretty({"digest": open_checkpoint(path).checkpoint.digest}))


def _check(asked: Comparison, cell: Cell, lines: Lines) -> str:
    """Check the candidate; the digest of run.json."""
    from unlearn_guard.checking.pipeline import check

    _, directory = check(request(asked, cell.suite, cell.folder), lines)
    return open_run(directory).digest


def _first_line() -> str:
    """A line of descriptor 0, and not a byte more: the rest is for who waits for its end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit(int(ExitStatus.USAGE))
        line += byte
    return line.decode()


def main() -> int:
    """One job, from standard input to exit status: 0 when there is a result, whichever."""
    asked, cell = decode(_first_line())
    end_with(0)
    lines = Lines(terminal(sys.stdout))
    try:
        measure(replace(asked, part=None), cell, lines)
    except TakenError:
        return BUSY
    except GuardError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_status)
    return int(ExitStatus.PASSED)


if __name__ == "__main__":
    sys.exit(main())
