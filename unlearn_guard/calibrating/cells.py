"""One cell of a calibration: a candidate of the zoo with a seed and a size, made, checked, and kept.

A cell that has a finished run is only read. One that failed is tried again by the same command.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.processes.chatter import chatter_to

FULL_AND_NF4 = ("full", "nf4")
LOG = "cell.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A candidate's name, its seed, its size, and the precisions it is checked at."""

    name: str
    seed: int
    size: str
    precisions: tuple[str, ...]

    @property
    def title(self) -> str:
        """As it is told and filed: `erased-0`, or `erased-0-four` of another size."""
        return f"{self.name}-{self.seed}" + ("" if self.size == "six" else f"-{self.size}")

    def run(self, out: Path) -> Path:
        """Its run directory."""
        return out / self.title / "run"


def cells(
    names: Iterable[str], seeds: Iterable[int], sizes: Iterable[str], precisions: tuple[str, ...] = FULL_AND_NF4
) -> tuple[Cell, ...]:
    """Every cell, seed by seed; a candidate that hides in a format's cells is asked at that format too.

    `unchanged` is the same bytes whatever the seed: one cell a size.
    """
    from unlearn_guard.organism.zoo import PLANS

    found: dict[Cell, None] = {}
    for size in sizes:
        for seed in seeds:
            for name in names:
                plan = PLANS[name]
                made = seed if plan.edit or plan.noise or plan.recipe else 0
                more = tuple(each for each in plan.cells if each not in precisions)
                found[Cell(name=name, seed=made, size=size, precisions=(*precisions, *more))] = None
    return tuple(found)


def measure(cell: Cell, out: Path, policy: str) -> None:
    """Make and check one cell, in a process of its own; raises what making and checking raise."""
    from unlearn_guard.checking.pipeline import check
    from unlearn_guard.checking.request import Request
    from unlearn_guard.organism.candidates import build

    folder = out / cell.title
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with chatter_to(folder / LOG):
        candidate, base = folder / "candidate", out / f"base-{cell.size}"
        for path, name in ((base, "base"), (candidate, cell.name)):
            if not path.exists():
                build(name, path, seed=cell.seed if name != "base" else 0, size=cell.size)
        check(
            Request(
                checkpoint=str(candidate),
                base=str(base),
                suite="organism",
                thresholds=policy,
                precisions=cell.precisions,
                out=cell.run(out),
                measure=("all",),
                replace=True,  # the calibration's own
            )
        )
