"""From run directories to a leaderboard. Reads what each run.json lists by digest, measures nothing, needs no torch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reopening.run import OpenRun, open_run
from unlearn_guard.reports.leaderboard import Board, document, markdown, page, table
from unlearn_guard.reports.rendering import read_evidence
from unlearn_guard.reports.standing import Absent, Entry, ranked
from unlearn_guard.runs import cell_file
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.claim import MARKER
from unlearn_guard.runs.directory import REPORT, RUN_FILE, WEIGHTS
from unlearn_guard.runs.drift_file import NAME as DRIFT
from unlearn_guard.runs.drift_file import read_drift
from unlearn_guard.runs.samples import FOLDER as SAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What was written, and the board that it shows."""

    board: Board
    files: tuple[Path, ...]


def write_leaderboard(
    directories: Sequence[Path], out: Path, *, to_markdown: Path | None = None, with_reports: bool = False
) -> Site:
    """Write index.html, leaderboard.csv and leaderboard.json into `out`.

    Runs are found at and below `directories`; one that is there twice counts once. Links lead to the reports where
    they lie, or, `with_reports`, to new ones in `out`/reports. Raises RunDirectoryError naming every run that was
    edited, and where there is no run at all.
    """
    board = read_board(directories, out, with_reports=with_reports)
    files = {"index.html": page(board), "leaderboard.csv": table(board), "leaderboard.json": document(board)}
    for row in board.rows if with_reports else ():
        for entry in row.entries:
            files[str(entry.report)] = _report(Path(entry.directory))
    for name, text in files.items():
        write_bytes(out / name, text.encode())
    if to_markdown is not None:
        write_bytes(to_markdown, markdown(board).encode())
    return Site(board=board, files=(*(out / name for name in files), *([to_markdown] if to_markdown else [])))


def _report(directory: Path) -> str:
    from unlearn_guard.reports.html import page as report

    return report(read_evidence(directory))


def read_board(directories: Sequence[Path], out: Path, *, with_reports: bool = False) -> Board:
    """The runs at and below `directories`, ranked. `out` is where links start from."""
    found: dict[str, Entry] = {}
    absent: list[Absent] = []
    defects: list[Defect] = []
    for folder in dict.fromkeys(path.resolve() for path in _places(directories)):
        try:
            one = _one(folder, out, with_reports)
        except RunDirectoryError as error:
            defects += error.defects or [Defect(where=str(folder), found=error.summary, expected="a finished run")]
            continue
        if isinstance(one, Absent):
            absent.append(one)
        else:
            found.setdefault(one.digest, one)
    if defects:
        raise RunDirectoryError(
            "the leaderboard was not written: runs among these were edited or damaged, or are not what `check` wrote",
            defects,
            fix="Run those checks again, or leave their directories out.",
        )
    return Board(rows=ranked(found.values()), absent=tuple(absent))


def _places(directories: Sequence[Path]) -> Iterator[Path]:
    """Folders of cells and of runs; what lies inside of one is its own."""
    for directory in directories:
        places = [*_below(directory)]
        if not places:
            raise RunDirectoryError(
                f"{directory}: there is no run here or below",
                fix="Give directories that `check --out` or `compare --out` wrote.",
            )
        yield from places


def _below(directory: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(directory):
        if {cell_file.NAME, RUN_FILE, MARKER} & set(files) or SAMPLES in folders:
            folders.clear()
            yield Path(name)
        folders.sort()


def _one(folder: Path, out: Path, with_reports: bool) -> Entry | Absent:
    if not (folder / cell_file.NAME).exists():
        if not (folder / RUN_FILE).exists():
            return Absent(directory=str(folder), why="not finished: there is no run.json")
        return _entry(folder, _opened(folder), None, out, with_reports)
    cell = cell_file.read_cell(folder)
    if cell.state != cell_file.MEASURED:
        why = cell.error or "not finished: the same compare goes on with it"
        return Absent(
            directory=str(folder),
            why=why,
            method=cell.method,
            suite=cell.suite,
            settings=tuple(sorted(cell.settings.items())),
            seed=cell.seed,
        )
    directory = folder / cell_file.RUN
    held = _opened(directory)
    if held.digest != cell.run:
        where = f"{directory / RUN_FILE}"
        raise RunDirectoryError(
            f"{directory} is not the run that {folder / cell_file.NAME} names",
            [Defect(where=where, found=held.digest[:19], expected=f"{str(cell.run)[:19]}..., which the cell measured")],
        )
    return _entry(directory, held, cell, out, with_reports)


def _opened(directory: Path) -> OpenRun:
    """The run; what is wrong with it names the directory."""
    try:
        return open_run(directory)
    except RunDirectoryError as error:
        named = [
            Defect(where=f"{directory}/{each.where}", found=each.found, expected=each.expected)
            for each in error.defects
        ]
        raise RunDirectoryError(error.summary, named, fix=error.fix) from error


def _entry(directory: Path, held: OpenRun, cell: cell_file.CellFile | None, out: Path, with_reports: bool) -> Entry:
    run, grid = held.run, f"{WEIGHTS}/{DRIFT}"
    sides = {"base": run.base.digest, "candidate": run.candidate.digest}
    report: str | None = None
    if with_reports:
        report = f"reports/{held.digest.removeprefix('sha256:')[:16]}.html"
    elif (directory / REPORT).is_file():
        report = quote(Path(os.path.relpath(directory / REPORT, out.resolve())).as_posix())
    return Entry(
        run=run,
        digest=held.digest,
        directory=str(directory),
        report=report,
        method=cell.method if cell else run.candidate.method or directory.name,
        settings=tuple(sorted(cell.settings.items())) if cell else (),
        seed=cell.seed if cell else None,
        drift=read_drift(directory / grid, **sides) if grid in held.files else (),
    )
