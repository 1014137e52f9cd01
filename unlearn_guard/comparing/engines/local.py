"""Cells as processes on one machine."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from unlearn_guard.comparing import measure_cell
from unlearn_guard.comparing.cells import Cell, Comparison
from unlearn_guard.errors import TakenError, needed
from unlearn_guard.processes.children import environment as safe_environment
from unlearn_guard.processes.children import python
from unlearn_guard.processes.interruption import heed
from unlearn_guard.runs import cell_file
from unlearn_guard.runs.cell_file import CellFile
from unlearn_guard.runs.claim import claim

COMMAND = python(measure_cell.__name__)
"""What a cell's process runs: where the user is, as relative paths mean that place, and taking no code from there."""


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


@dataclass(kw_only=True)
class Local:
    """Processes on this machine: at most one a device, and no further one than memory has room for."""

    asked: Comparison
    watcher: Watcher
    room: int
    pause: float = 1.0
    cwd: Path | None = None
    command: Sequence[str] = COMMAND
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
                heed()
                while waiting and free and (not running or self._fits()):
                    cell, device = waiting.popleft(), free.popleft()
                    running[pool.submit(self.one, cell, device)] = (cell, device)
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

    def one(self, cell: Cell, device: str | None) -> CellFile | None:
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
        self._tell("ended", cell.name, words(found), True)
        return found

    def _process(self, cell: Cell, device: str | None) -> tuple[int, str]:
        with tempfile.TemporaryFile() as errors:
            process = self._start(device, errors)
            self._tell("started", cell.name)
            to, said = needed(process.stdin, "a cell's input"), needed(process.stdout, "a cell's output")
            with contextlib.suppress(BrokenPipeError):  # it died at once, and its status says so
                to.write(measure_cell.encode(self.asked, cell))
                to.flush()
            for line in said:
                told = measure_cell.told(line)
                self._tell("stage", cell.name, told.text, told.done, told.of)
            status = process.wait()
            with self._lock:
                self._running.remove(process)
                said.close()
                to.close()
            errors.seek(0)
            return status, errors.read().decode(errors="replace")

    def _start(self, device: str | None, errors: IO[bytes]) -> "subprocess.Popen[str]":
        environment = safe_environment() | ({} if device is None else {"CUDA_VISIBLE_DEVICES": device})
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
                cwd=self.cwd,
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
        return write_failure(cell, f"{why}. {said[-400:]}".strip())

    def _tell(self, what: str, *values: object) -> None:
        with self._lock:
            getattr(self.watcher, what)(*values)


def write_failure(cell: Cell, why: str) -> CellFile | None:
    """Write down, for a process that could not, that the cell failed; None where another process has it."""
    result = cell.file(state=cell_file.FAILED, error=why)
    try:
        with claim(cell.folder):
            cell_file.write_cell(cell.folder, result)
    except TakenError:
        return None
    return result


def words(found: CellFile) -> str:
    """What became of a cell, in a line."""
    if found.state == cell_file.FAILED:
        return f"failed: {(found.error or '').partition(chr(10))[0]}"
    return "measured" if found.seconds is None else f"measured in {found.seconds:.0f} s"
