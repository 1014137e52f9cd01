"""Cells of a comparison as they lie on disk, made by hand."""

from dataclasses import replace
from pathlib import Path

from tests.oracles.made_evidence import LIMITS, made_drift
from tests.oracles.made_scores import BASE, CANDIDATE, made_run, made_scores
from unlearn_guard.runs.cell_file import CellFile, write_cell
from unlearn_guard.runs.directory import open_run, write_run
from unlearn_guard.runs.drift_file import write_drift


def write_made_run(out: Path, *, limits=LIMITS, method="ga", drift=True, changes=None, **scores) -> Path:
    """A run directory with weight counts and a report."""
    run, made = made_run(limits=limits, scores=made_scores(**scores))
    run = replace(run, candidate=replace(run.candidate, method=method), **(changes or {}))
    if drift:
        write_drift(out / "weights", made_drift(), base=BASE, candidate=CANDIDATE)
        (out / ".unlearn-guard").touch()
    write_run(run, made, out)
    (out / "report.html").write_text("a report")
    return out


def write_made_cell(folder: Path, *, method="npo", seed=0, state="measured", settings=None, error=None, **made) -> Path:
    """A cell's folder: with its run where it was measured."""
    run = None
    if state == "measured":
        run = open_run(write_made_run(folder / "run", method=method, **made)).digest
    cell = CellFile(
        method=method, suite="made", seed=seed, settings=settings or {}, asked="x", state=state, run=run, error=error
    )
    write_cell(folder, cell)
    return folder
