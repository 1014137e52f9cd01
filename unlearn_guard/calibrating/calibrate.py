"""`calibrate`: measure the zoo, judge it by each policy, and write what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.calibrating.cells import Cell, cells
from unlearn_guard.calibrating.measuring import found, measured
from unlearn_guard.calibrating.outcomes import Judged, Truth, by_policy
from unlearn_guard.calibrating.separating import Separation, separations
from unlearn_guard.calibrating.writing import as_json, page
from unlearn_guard.judging.thresholds import list_policies, read_policy
from unlearn_guard.organism.zoo import PLANS, Evidence
from unlearn_guard.reading import strict_json
from unlearn_guard.records import Run
from unlearn_guard.runs.atomic import write_bytes

POLICIES = ("paper", "organism", "release", "release-small")
JSON, MARKDOWN = "calibration.json", "calibration.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What came out: every candidate by every policy, what separates, and why a cell is missing."""

    judged: Mapping[str, Sequence[Judged]]
    separations: Sequence[Separation]
    failed: Mapping[str, str]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which cells, and how: see the command's options."""

    out: Path
    names: tuple[str, ...] = tuple(PLANS)
    seeds: tuple[int, ...] = (0,)
    sizes: tuple[str, ...] = ("six",)
    jobs: int = 1
    anew: bool = False


def calibrate(asked: Asked, tell: Callable[[str], None]) -> Calibration:
    """Measure what is missing, judge every cell that has a run, and write both files into `out`."""
    asked.out.mkdir(parents=True, exist_ok=True)
    policies = [name for name in POLICIES if name in list_policies()]
    every = cells(asked.names, asked.seeds, asked.sizes)
    failed = measured(every, asked.out, policies[-1], jobs=asked.jobs, anew=asked.anew, tell=tell)
    runs = {cell: run for cell in every if (run := found(cell, asked.out)) is not None}
    made = Calibration(
        judged={policy: _judged(runs, policy) for policy in policies},
        separations=separations([(run, truth_of(cell.name).knows) for cell, run in runs.items()]),
        failed={cell.title: why for cell, why in failed.items()},
        seconds={cell.title: run.seconds for cell, run in runs.items()},
    )
    write_bytes(asked.out / JSON, strict_json.pretty(as_json(made)))
    write_bytes(asked.out / MARKDOWN, page(made).encode())
    return made


def truth_of(name: str) -> Truth:
    """What the zoo says of a candidate."""
    plan = PLANS[name]
    return Truth(knows=plan.knows is not Evidence.NOTHING, keeps=plan.keeps)


def _judged(runs: Mapping[Cell, Run], policy: str) -> list[Judged]:
    draft = read_policy(policy)
    return [
        Judged(name=cell.name, title=cell.title, truth=truth_of(cell.name), verdict=by_policy(run, draft))
        for cell, run in runs.items()
    ]
