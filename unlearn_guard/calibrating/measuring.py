"""Every cell of a calibration, each in a process that ends with ours; what is measured already is only read."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from unlearn_guard.calibrating.cells import Cell, measure
from unlearn_guard.errors import GuardError, RunDirectoryError
from unlearn_guard.processes.children import end_with_parent
from unlearn_guard.processes.interruption import heed
from unlearn_guard.records import Run
from unlearn_guard.reopening.run import read_run

Tell = Callable[[str], None]


def measured(cells: Sequence[Cell], out: Path, policy: str, *, jobs: int, anew: bool, tell: Tell) -> dict[Cell, str]:
    """Measure what is missing; returns why a cell could not be, by cell. `anew`: check again what has a run.

    One process a job, and each cell in the first that is free.
    """
    left = [cell for cell in cells if anew or found(cell, out) is None]
    tell(f"{len(cells)} cells, {len(left)} to measure")
    failed: dict[Cell, str] = {}
    if not left:
        return failed
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=end_with_parent) as pool:
        waiting = {pool.submit(measure, cell, out, policy): cell for cell in left}
        for future in as_completed(waiting):
            heed()
            cell = waiting[future]
            try:
                future.result()
                tell(f"{cell.title}: measured")
            except GuardError as error:  # one cell's fault must not take the others' numbers along
                failed[cell] = str(error)
                tell(f"{cell.title}: failed: {error}")
    return failed


def found(cell: Cell, out: Path) -> Run | None:
    """The cell's finished run, verified, or None where there is none that can be read."""
    if not (cell.run(out) / "run.json").is_file():
        return None
    try:
        run = read_run(cell.run(out))
    except RunDirectoryError:
        return None
    return run if set(cell.precisions) <= {each.precision for each in run.measurements} else None
