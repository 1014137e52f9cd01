"""`compare`: many cells of the pipeline, each in a process of its own, and a leaderboard of what came out.

    plan -> for each cell that nobody has measured: unlearn, check -> leaderboard

A cell that fails is a row that says why. What is finished stays finished, whatever becomes of the rest, and several
compares may share one directory: a cell is measured by whoever has its lock.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from unlearn_guard import measure_cell
from unlearn_guard.cells import Cell, Comparison, cells
from unlearn_guard.errors import TakenError, UsageError
from unlearn_guard.leaderboard import Site, write_leaderboard
from unlearn_guard.runs import cell_file
from unlearn_guard.runs.cell_file import CellFile
from unlearn_guard.runs.claim import claim

SITE = "leaderboard"
_LIBRARIES = 1_500_000_000
"""What a process takes before it has a model."""

_BYTES_A_WEIGHT = 16
"""Training in float32: weight, gradient, and AdamW's two moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cells, what became of each so far, and what the rest may take.

    `seconds` is measured, the mean of this comparison's finished cells times those that are left; None before one is
    finished. `bytes_a_cell` is arithmetic: the libraries, the weights as stored, and 16 bytes a weight to train.
    """

    asked: Comparison
    cells: tuple[Cell, ...]
    found: Mapping[Path, CellFile]
    bytes_a_cell: int

    @property
    def left(self) -> tuple[Cell, ...]:
        """What is still to be measured; what failed before is tried again."""
        return tuple(cell for cell in self.cells if not self.measured(cell))

    def measured(self, cell: Cell) -> bool:
        """Whether the cell has a run."""
        return cell.folder in self.found and self.found[cell.folder].state == cell_file.MEASURED

    @property
    def seconds(self) -> float | None:
        """How long the rest may take, one cell after the other."""
        known = [each.seconds for each in self.found.values() if each.state == cell_file.MEASURED and each.seconds]
        return sum(known) / len(known) * len(self.left) if known else None


def plan(asked: Comparison) -> Plan:
    """What `compare` would do. Raises UsageError for all that it would refuse."""
    from unlearn_guard.intake import assert_tensors, expected_tensors, open_checkpoint

    base = open_checkpoint(asked.base)
    assert_tensors(base, expected_tensors(base.checkpoint.path))
    made = cells(asked, base)
    if not made:
        raise UsageError("there is no cell to measure", fix="Name methods and suites, and a part that is not empty.")
    weights = sum(tensor.elements for tensor in base.tensors)
    stored = sum(state.size for state in base.files)
    found = {cell.folder: result for cell in made if (result := cell.found()) is not None}
    return Plan(asked=asked, cells=made, found=found, bytes_a_cell=_LIBRARIES + stored + _BYTES_A_WEIGHT * weights)


class Watcher(Protocol):
    """Who is told how the cells are getting on. Called from several threads, one call at a time."""

    def begin(self, total: int, done: int) -> None:
        """How many cells there are, and how many were measured before."""

    def started(self, name: str) -> None:
        """A cell's process has started."""

    def stage(self, name: str, text: str, done: int | None, of: int | None) -> None:
        """What it is at."""

    def ended(self, name: str, outcome: str, finished: bool) -> None:
        """The cell's result in words; not `finished` where it was put off."""


def compare(asked: Comparison, watcher: Watcher, *, jobs: int | None = None) -> tuple[Plan, Site | None]:
    """Measure what is left and write the leaderboard of all of it; of a part (`--cell`) there is none.

    Returns the plan as it stands at the end. An interrupt ends every process and leaves what is finished.
    """
    begun = plan(asked)
    watcher.begin(len(begun.cells), len(begun.cells) - len(begun.left))
    if begun.left:
        Local(asked=asked, watcher=watcher, room=begun.bytes_a_cell).run(begun.left, _places(asked.device, jobs))
    ended = Plan(
        asked=asked,
        cells=begun.cells,
        found={cell.folder: result for cell in begun.cells if (result := cell.found()) is not None},
        bytes_a_cell=begun.bytes_a_cell,
    )
    if asked.part is not None:
        return ended, None
    return ended, write_leaderboard([cell.folder for cell in ended.cells], asked.out / SITE)


def _places(device: str, jobs: int | None) -> list[str | None]:
    """One entry for each process that may run at a time, with its CUDA device or None for the machine."""
    devices: list[str | None] = [None] if device == "cpu" else _devices()
    return (devices * (jobs or 1))[: jobs or len(devices)]


def _devices() -> list[str | None]:
    """The CUDA devices that this process sees, or None for the machine alone."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) >= count and visible != [""] else [str(index) for index in range(count)]
    return [*names[:count]] if count else [None]


@dataclass(kw_only=True)
class Local:
    """Processes on this machine: at most one a device, and no further one than memory has room for."""

    asked: Comparison
    watcher: Watcher
    room: int
    pause: float = 1.0
    command: Sequence[str] = (sys.executable, "-m", measure_cell.__name__)
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False
    _threads: int | None = None

    def _close(self) -> None:
        """Whoever still runs goes when its input ends."""
        with self._lock:
            self._closed = True
            for process in self._running:
                if process.stdin:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
            for process in self._running:
                process.wait()

    def run(self, left: Sequence[Cell], devices: Sequence[str | None]) -> None:
        """Every cell once; one that another process has is come back to until it has a result."""
        waiting, free = deque(left), deque(devices)
        running: dict[Future[CellFile | None], tuple[Cell, str | None]] = {}
        pool = ThreadPoolExecutor(max_workers=len(devices))
        self._threads = max(1, (os.cpu_count() or 1) // len(devices)) if len(devices) > 1 else None
        try:
            while waiting or running:
                while waiting and free and (not running or self._fits()):
                    cell, device = waiting.popleft(), free.popleft()
                    running[pool.submit(self._one, cell, device)] = (cell, device)
                done, _ = wait(running, timeout=self.pause, return_when=FIRST_COMPLETED)
                for future in done:
                    cell, device = running.pop(future)
                    free.append(device)
                    if future.result() is None:
                        waiting.append(cell)
                        time.sleep(self.pause)
        finally:
            self._close()
            pool.shutdown()

    def _fits(self) -> bool:
        import psutil

        return bool(psutil.virtual_memory().available >= self.room)

    def _one(self, cell: Cell, device: str | None) -> CellFile | None:
        """The cell's result, or None where another process has it."""
        found = cell.found()
        if found is None or found.state != cell_file.MEASURED:
            status, said = self._process(cell, device)
            if status == measure_cell.BUSY:
                self._tell("ended", cell.name, "another compare has it", False)
                return None
            found = cell.found() if status == 0 else self._died(cell, status, said)
            if found is None:
                return None
        self._tell("ended", cell.name, _words(found), True)
        return found

    def _process(self, cell: Cell, device: str | None) -> tuple[int, str]:
        with tempfile.TemporaryFile() as errors:
            process = self._start(device, errors)
            self._tell("started", cell.name)
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it died at once, and its status says so
                process.stdin.write(measure_cell.encode(self.asked, cell))
                process.stdin.flush()
            for line in process.stdout:
                told = measure_cell.told(line)
                self._tell("stage", cell.name, told.text, told.done, told.of)
            status = process.wait()
            with self._lock:
                self._running.remove(process)
                process.stdout.close()
                process.stdin.close()
            errors.seek(0)
            return status, errors.read().decode(errors="replace")

    def _start(self, device: str | None, errors: IO[bytes]) -> "subprocess.Popen[str]":
        environment = dict(os.environ) | ({} if device is None else {"CUDA_VISIBLE_DEVICES": device})
        if self._threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        with self._lock:
            if self._closed:
                raise KeyboardInterrupt
            process = subprocess.Popen(  # noqa: S603 - our own module
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                start_new_session=True,  # the terminal's Ctrl-C is ours to pass on
            )
            self._running.append(process)
        return process

    def _died(self, cell: Cell, status: int, said: str) -> CellFile | None:
        """Write down, for a process that could not, that the cell failed; None where another process has it now."""
        if self._closed:
            return None
        why = f"its process ended with status {status}"
        if status < 0:
            why = f"its process was killed by signal {-status}; the machine may have run out of memory"
        result = cell.file(state=cell_file.FAILED, error=f"{why}. {said[-400:]}".strip())
        try:
            with claim(cell.folder):
                cell_file.write_cell(cell.folder, result)
        except TakenError:
            return None
        return result

    def _tell(self, what: str, *values: object) -> None:
        with self._lock:
            getattr(self.watcher, what)(*values)


def _words(found: CellFile) -> str:
    if found.state == cell_file.FAILED:
        return f"failed: {(found.error or '').partition(chr(10))[0]}"
    return "measured" if found.seconds is None else f"measured in {found.seconds:.0f} s"
