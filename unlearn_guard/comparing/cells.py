"""The cells of a comparison: every method with every set of its hyperparameters, on every suite, with every seed.

A cell's folder is named by what makes its candidate: the method's file and hyperparameters, the suite's file, the
seed, base's digest and the libraries' versions. Where one of them changes, it is another cell.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from unlearn_guard.checking.request import Request
from unlearn_guard.comparing.grid_file import Settings, read_grid
from unlearn_guard.environment import versions
from unlearn_guard.errors import SuiteError, UsageError, near
from unlearn_guard.reading import strict_json
from unlearn_guard.registry import MethodFile, method, methods, precisions
from unlearn_guard.runs import cell_file

if TYPE_CHECKING:
    from unlearn_guard.intake import Intake
    from unlearn_guard.scoring.suites import Suite

ALL = "all"
FOLDER = "cells"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One `compare` as the user asked for it. With `remote`, a URL, `out` is what this machine holds of it."""

    methods: tuple[str, ...]
    base: str
    suites: tuple[str, ...]
    out: Path
    remote: str | None = None
    precisions: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    grid: Path | None = None
    thresholds: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 64
    limit: int | None = None
    data_dir: Path | None = None
    tasks_dirs: tuple[Path, ...] = ()
    methods_dir: Path | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One candidate to be made and checked. `asked` is the digest of how it is checked, and no part of the folder."""

    method: str
    suite: str
    suite_name: str
    seed: int
    folder: Path
    asked: str
    settings: Settings = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How the cell reads in a line of progress."""
        settings = "".join(f" {key}={value}" for key, value in self.settings.items())
        return f"{self.method}{settings} on {self.suite_name}, seed {self.seed}"

    def file(self, **changes: Any) -> cell_file.CellFile:
        """What cell.json says of it."""
        return cell_file.CellFile(
            method=self.method,
            suite=self.suite_name,
            seed=self.seed,
            settings=dict(self.settings),
            asked=self.asked,
            **changes,
        )

    def found(self) -> cell_file.CellFile | None:
        """What became of it so far, or None where nobody has begun, or it was checked in another way.

        RunDirectoryError where its run is not the one that was measured.
        """
        if not (self.folder / cell_file.NAME).exists():
            return None
        found = cell_file.read_cell(self.folder)
        if found.state == cell_file.MEASURED:
            fix = "Remove the cell's folder to have it measured again."
            cell_file.assert_run(self.folder, found, shown=str(self.folder), fix=fix)
        return found if found.asked == self.asked else None


def cells(asked: Comparison, base: "Intake") -> tuple[Cell, ...]:
    """Every cell of the comparison, whether or not it was measured, or the part of them that was asked for.

    All that a user could have got wrong raises a UsageError here, before anything is trained.
    """
    from unlearn_guard.scoring.suites import load_suite

    known = methods([asked.methods_dir] if asked.methods_dir else [])
    names = tuple(known) if asked.methods == (ALL,) else tuple(dict.fromkeys(asked.methods))
    for name in names:
        if name not in known:
            raise UsageError(f"there is no method called {name!r}", fix=near(name, known))
    grid = read_grid(asked.grid, names) if asked.grid else {}
    checked = _checked(asked)
    made = [
        cell
        for suite in dict.fromkeys(asked.suites)
        for name in names
        for settings in grid.get(name, ({},))
        for cell in _seeds(asked, base, known[name], (suite, load_suite(suite, asked.tasks_dirs)), settings, checked)
    ]
    if asked.part is None:
        return tuple(made)
    index, of = asked.part
    return tuple(made[index - 1 :: of])


def _seeds(
    asked: Comparison,
    base: "Intake",
    known: MethodFile,
    suite: "tuple[str, Suite]",
    settings: Settings,
    checked: str,
) -> Iterator[Cell]:
    from unlearn_guard.unlearning.settings import configure, hyperparameters

    text, loaded = suite
    if loaded.unlearn is None:
        raise SuiteError(
            f"suite {loaded.name!r} names no corpora to unlearn with", fix="Add `unlearn:` to it (docs/tasks.md)."
        )
    configured = configure(
        method(known.name, [asked.methods_dir] if asked.methods_dir else []),
        known.name,
        loaded.unlearn.hyperparameters.get(known.name, {}),
        settings,
    )
    for seed in dict.fromkeys(asked.seeds):
        made_of = {
            "method": [known.name, _origin(known)],
            "hyperparameters": hyperparameters(configured),
            "suite": sha256(loaded.path.read_bytes()).hexdigest(),
            "seed": seed,
            "base": base.checkpoint.digest,
            "versions": versions(),
        }
        digest = strict_json.digest(strict_json.canonical(made_of)).removeprefix("sha256:")[:12]
        name = "-".join(quote(each, safe="") for each in (known.name, loaded.name, f"s{seed}", digest))
        yield Cell(
            method=known.name,
            suite=text,
            suite_name=loaded.name,
            seed=seed,
            folder=asked.out / FOLDER / name,
            asked=checked,
            settings=settings,
        )


def _origin(known: MethodFile) -> str:
    return sha256(known.origin.read_bytes()).hexdigest() if isinstance(known.origin, Path) else str(known)


def _checked(asked: Comparison) -> str:
    """The digest of how every cell is checked."""
    from unlearn_guard.judging.thresholds import read_policy

    for name in () if asked.precisions == (ALL,) else asked.precisions or ():
        if name not in precisions():
            raise UsageError(f"there is no precision called {name!r}", fix=near(name, precisions()))
    how: Mapping[str, Any] = {
        "policy": read_policy(request(asked, "", Path()).policy).digest,
        "precisions": asked.precisions,
        "device": asked.device,
        "dtype": asked.dtype,
        "batch_size": asked.batch_size,
        "limit": asked.limit,
        "versions": versions(),
    }
    return strict_json.digest(strict_json.canonical(how))


def request(asked: Comparison, suite: str, folder: Path) -> Request:
    """How a cell's candidate is checked. The seed of a cell is its training's: every candidate is asked the same."""
    return Request(
        checkpoint=str(folder / "candidate"),
        base=asked.base,
        suite=suite,
        thresholds=asked.thresholds,
        precisions=asked.precisions,
        out=folder / cell_file.RUN,
        replace=True,  # a cell that is asked otherwise is measured anew
        device=asked.device,
        dtype=asked.dtype,
        batch_size=asked.batch_size,
        limit=asked.limit,
        data_dir=asked.data_dir,
        tasks_dirs=asked.tasks_dirs,
    )
