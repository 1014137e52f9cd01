"""Who stands where: runs of one method and its seeds as one row, and the order of the rows.

Ranks are given among rows that were asked the same: suite, base, and limits. First comes who holds the larger share
of the limits, then who has fewer limits unmeasured, then whose smallest margin over all limits and precisions is
larger. A run of part of the items (`--limit`) stands after every whole one.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from unlearn_guard.records import FULL, RATIO_OCTAVES, WEIGHTS, Check, LayerDrift, Measurement, Outcome, Role, Run

IFEVAL = "ifeval"
KEYS = ("forget_drop", "gap", "retain", "retain_loss", IFEVAL, "cad", "as_c", "as_nc", "code_flip_rate")
"""The numbers of a row, besides the forget score by precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run as it enters the board. Method, settings and seed are its maker's word: labels, never evidence."""

    run: Run
    digest: str
    directory: str
    report: str | None
    method: str
    settings: tuple[tuple[str, str], ...] = ()
    seed: int | None = None
    drift: tuple[LayerDrift, ...] = ()

    @property
    def held(self) -> int:
        """How many limits passed."""
        return sum(check.outcome is Outcome.PASSED for check in self.run.verdict.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """What was to be measured and was not, and why."""

    directory: str
    why: str
    method: str = "-"
    suite: str = "-"
    settings: tuple[tuple[str, str], ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A number's mean over seeds, and its standard error where there are two or more."""

    mean: float
    stderr: float | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The runs of one method with one set of hyperparameters on one suite and base, by one policy."""

    entries: tuple[Entry, ...]
    rank: int = 0
    numbers: Mapping[str, Summary | None] = field(default_factory=dict)
    scores: Mapping[str, Summary | None] = field(default_factory=dict)

    @property
    def first(self) -> Entry:
        """The run that speaks for what all of them share."""
        return self.entries[0]

    @property
    def passed(self) -> bool:
        """Every limit held, in every run."""
        return all(entry.run.verdict.passed for entry in self.entries)

    @property
    def limits(self) -> int:
        """How many limits each run was held to."""
        return len(self.first.run.verdict.checks)

    @property
    def worst(self) -> Check | None:
        """The check with the smallest margin of all runs, or None where nothing was measured."""
        measured = [check for entry in self.entries for check in entry.run.verdict.checks if check.margin is not None]
        return min(measured, key=lambda check: check.margin or 0.0, default=None)

    @property
    def order(self) -> tuple[bool, float, int, float]:
        """Smaller is better."""
        checks = [check for entry in self.entries for check in entry.run.verdict.checks]
        held = sum(entry.held for entry in self.entries) / len(checks)
        unmeasured = sum(check.outcome is Outcome.UNMEASURED for check in checks)
        margin = self.worst.margin if self.worst is not None else None
        whole = all(entry.run.verdict.complete for entry in self.entries)
        return not whole, -held, unmeasured, math.inf if margin is None else -margin

    @property
    def octaves(self) -> tuple[int, ...]:
        """Changed weights of all runs by |update| / bin width, as `LayerDrift.ratios` counts them."""
        places = range(RATIO_OCTAVES[1] - RATIO_OCTAVES[0] + 1)
        return tuple(sum(layer.ratios[k] for entry in self.entries for layer in entry.drift) for k in places)


def ranked(entries: Iterable[Entry]) -> tuple[Row, ...]:
    """Rows with their ranks, one group of comparable rows after the other; equals share a rank."""
    found: dict[tuple[object, ...], dict[tuple[object, ...], list[Entry]]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for entry in entries:
        asked, own = _asked(entry.run), (entry.method, entry.settings, entry.seed)
        seen[asked, own] += 1
        # Without a seed nothing says that two runs differ in nothing else; and one seed twice is no second draw.
        key = (*own[:2], seen[asked, own]) if entry.seed is not None else (entry.method, entry.digest)
        found.setdefault(asked, {}).setdefault(key, []).append(entry)
    rows: list[Row] = []
    for _, group in sorted(found.items(), key=lambda item: [str(part) for part in item[0][:2]]):
        made = [_row(sorted(each, key=lambda entry: (entry.seed or 0, entry.digest))) for each in group.values()]
        made.sort(key=lambda row: (row.order, row.first.method, row.first.settings, row.first.digest))
        for row in made:
            rank = 1 + sum(other.order < row.order for other in made)
            rows.append(Row(entries=row.entries, rank=rank, numbers=row.numbers, scores=row.scores))
    return tuple(rows)


def _asked(run: Run) -> tuple[object, ...]:
    limits = tuple((each.id, each.at_least, each.at_most, each.confidence) for each in run.policy.limits)
    return run.suite, run.base.digest, limits, tuple(task.digest for task in run.tasks)


def _row(entries: Sequence[Entry]) -> Row:
    numbers = [numbers_of(entry.run) for entry in entries]
    scores = [scores_of(entry.run) for entry in entries]
    precisions = dict.fromkeys(name for each in scores for name in each)
    return Row(
        entries=tuple(entries),
        numbers={key: summary([each[key] for each in numbers]) for key in KEYS},
        scores={name: summary([each.get(name) for each in scores]) for name in precisions},
    )


def summary(values: Sequence[float | None]) -> Summary | None:
    """Mean and standard error of the mean; None where one of the values is missing, so that none is left out."""
    there = [value for value in values if value is not None]
    if not there or len(there) < len(values):
        return None
    stderr = statistics.stdev(there) / math.sqrt(len(there)) if len(there) > 1 else None
    return Summary(mean=statistics.fmean(there), stderr=stderr, count=len(there))


def scores_of(run: Run) -> dict[str, float | None]:
    """The candidate's score on its forget tasks by precision: of the task it still knows best."""
    tasks = [(task.name, task.metric) for task in run.tasks if task.role is Role.FORGET]
    precisions = dict.fromkeys([FULL, *(each.precision for each in _own(run) if each.task != WEIGHTS)])
    return {name: _worst(max, run, [(task, metric, name) for task, metric in tasks]) for name in precisions}


def numbers_of(run: Run) -> dict[str, float | None]:
    """The other numbers of the table; where there are several tasks, of the one that looks worst."""
    forget = [task.name for task in run.tasks if task.role is Role.FORGET]
    retain = [task for task in run.tasks if task.role is Role.RETAIN]
    quantized = [name for name in scores_of(run) if name != FULL]
    every = {each.precision for each in _own(run) if each.metric == "retain_drop"}
    attributed = dict.fromkeys([FULL, *(each.precision for each in _own(run) if each.metric == "cad")])
    kept = [_value(run, task.name, task.metric, FULL) for task in retain if task.name != IFEVAL]
    return {
        "forget_drop": _worst(min, run, [(task, "forget_drop", FULL) for task in forget]),
        "gap": _worst(max, run, [(task, "ptq_gap", name) for task in forget for name in quantized]),
        "retain": None if (mean := summary(kept)) is None else mean.mean,
        "retain_loss": _worst(max, run, [(task.name, "retain_drop", name) for task in retain for name in every]),
        IFEVAL: next((_value(run, task.name, task.metric, FULL) for task in run.tasks if task.name == IFEVAL), None),
        "cad": _worst(min, run, [(task, "cad", name) for task in forget for name in attributed]),
        "as_c": _worst(min, run, [(task, "as_c", FULL) for task in forget]),
        "as_nc": _worst(max, run, [(task, "as_nc", FULL) for task in forget]),
        "code_flip_rate": _value(run, WEIGHTS, "code_flip_rate", "nf4"),
    }


def _own(run: Run) -> list[Measurement]:
    return [each for each in run.measurements if each.subject == run.candidate.digest]


def _value(run: Run, task: str, metric: str, precision: str) -> float | None:
    asked = (task, metric, precision)
    return next((each.value for each in _own(run) if (each.task, each.metric, each.precision) == asked), None)


def _worst(pick: Callable[[list[float]], float], run: Run, asked: Sequence[tuple[str, str, str]]) -> float | None:
    """The worst of these measurements; None where one of them is missing, as it might be the worst."""
    values = [_value(run, *each) for each in asked]
    there = [value for value in values if value is not None]
    return pick(there) if there and len(there) == len(values) else None
