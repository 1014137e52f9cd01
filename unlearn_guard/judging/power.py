"""How many items a policy needs, before anything is measured: so that an honest candidate passes and a false one fails.

An honest candidate knows nothing of the forget set: it answers at chance, quantization moves as many answers one way as
the other, and what is to stay has stayed. Its twin is off by twice the margin: where the honest value lies a distance
from the bound, the twin's lies as far beyond it. Both are to be told, each in `POWER` of all runs, by limits on points
and on intervals alike; normal theory, with the allowance for what was never seen where fewer answers differ than that.

Source: Wellek 2010, Testing Statistical Hypotheses of Equivalence and Noninferiority, chapter 5 (paired proportions);
Bonferroni for a verdict of several limits.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from unlearn_guard.judging.gap import DISCORDANCE
from unlearn_guard.records import Limit, Role, Task

POWER = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What is not known before measuring: the share of answers that differ, and base's own score.

    `discordance` is between two precisions of a candidate, and between base and candidate on what is to stay. `power`
    is that of the whole verdict.
    """

    discordance: float = DISCORDANCE
    base_score: float = 1.0
    power: float = POWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One limit: the items that its task has, and those that it takes `alone` and `together` with all others.

    None where no number is enough, or none is defined; `why` says which.
    """

    limit: Limit
    there: int | None
    alone: int | None
    together: int | None
    why: str = ""

    @property
    def enough(self) -> bool | None:
        """Whether the task has what the whole verdict takes; None where that is no question of items."""
        if self.why == NOT_SAMPLED:
            return None
        return self.together is not None and self.there is not None and self.there >= self.together


NOT_SAMPLED = "not a matter of how many items are asked"
ON_THE_BOUND = "an honest candidate lies on the bound: it passes in half of all runs, however many items"
BEYOND = "an honest candidate breaks it"

Honest = Callable[[float, Task, Assumed], float]
"""The variance that one item adds to a metric of this true value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A metric over items: the value of an honest candidate, the range it lies in, and the variance at a value."""

    honest: Callable[[Task, Assumed], float]
    variance: Honest
    low: float
    high: float


def needs(
    limits: Sequence[Limit], tasks: Mapping[str, Task], assumed: Assumed, asked: Mapping[str, int] | None = None
) -> tuple[Need, ...]:
    """Every limit, in order. `asked`: of these metrics at most so many items of a task are asked.

    That a verdict has its power its limits share what may go wrong: the tight ones, which need a quarter of the most
    items or more, nearly all of it, so that those that any suite can tell cost them nothing.

    Raises ValueError where base knows nothing.
    """
    for each in limits:
        if each.task in tasks and tasks[each.task].role is Role.FORGET:
            _known(tasks[each.task], assumed)
    alone = [_need(each, tasks.get(each.task), assumed, assumed.power) for each in limits]
    most = max((each.alone or 0 for each in alone), default=0)
    tight = [4 * (each.alone or 0) >= most for each in alone]
    kinds = {
        kind: sum(kind is each and need.alone is not None for each, need in zip(tight, alone, strict=True))
        for kind in (True, False)
    }
    wrong = 1.0 - assumed.power
    found = []
    for need, kind in zip(alone, tight, strict=True):
        part = 1.0 if not kinds[not kind] else _TIGHT if kind else 1.0 - _TIGHT
        power = 1.0 - wrong * part / max(1, kinds[kind])
        both = _need(need.limit, tasks.get(need.limit.task), assumed, power)
        there = need.there if need.there is None else min(need.there, (asked or {}).get(need.limit.metric, need.there))
        found.append(replace(need, there=there, together=both.alone))
    return tuple(found)


def _need(limit: Limit, task: Task | None, assumed: Assumed, power: float) -> Need:
    """Of one limit by itself."""
    model = _MODELS.get(limit.metric)
    if task is None or model is None:
        return Need(limit=limit, there=None, alone=None, together=None, why=NOT_SAMPLED)
    value = model.honest(task, assumed)
    nearest = min(abs(value - each) for each in (limit.at_least, limit.at_most) if each is not None)
    if nearest < _NOTHING or not _within(limit, value):
        why = ON_THE_BOUND if nearest < _NOTHING else BEYOND
        return Need(limit=limit, there=task.items, alone=None, together=None, why=why)
    items = _items(limit, task, assumed, model, power)
    return Need(limit=limit, there=task.items, alone=items, together=items)


_NOTHING = 1e-12
_TIGHT = 0.95
"""Of what may go wrong the share that the tight limits have."""


def _within(limit: Limit, value: float) -> bool:
    return (limit.at_least is None or limit.at_least <= value) and (limit.at_most is None or value <= limit.at_most)


def _items(limit: Limit, task: Task, assumed: Assumed, model: _Model, power: float) -> int:
    """The most that either bound takes, for the honest candidate and for its twin beyond it."""
    z = _quantile(power) + (0.0 if limit.confidence is None else _quantile((1.0 + limit.confidence) / 2))
    value = model.honest(task, assumed)
    found = [1]
    for bound in (each for each in (limit.at_least, limit.at_most) if each is not None):
        false = min(max(2 * bound - value, model.low), model.high)
        for true in (value, false):
            distance = abs(true - bound)
            if distance < _NOTHING:
                continue  # there is no value beyond this bound: nothing is to be told
            variance = model.variance(true, task, assumed)
            found.append(math.ceil(z**2 * variance / distance**2))
            found.append(_unseen(distance, limit.confidence))
    return max(found)


def _unseen(distance: float, confidence: float | None) -> int:
    """So many items that what was never seen among them is rarer than the distance (statistics.never_seen)."""
    if confidence is None or distance >= 1.0:
        return 1
    return math.ceil(math.log((1.0 - confidence) / 2) / math.log1p(-distance))


def _quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _chance(task: Task) -> float:
    return max(task.chance, task.floor or 0.0)


def _known(task: Task, assumed: Assumed) -> float:
    """What base knows above chance. Raises ValueError where that is nothing."""
    known = assumed.base_score - _chance(task)
    if known <= 0.0:
        raise ValueError(f"base's score {assumed.base_score:g} is not above the {_chance(task):g} of {task.name}")
    return known


def _paired(value: float, _: Task, assumed: Assumed) -> float:
    """Of a difference of two right-or-wrong answers: at least as many differ as the value itself needs."""
    return max(assumed.discordance, abs(value)) - value**2


def _dropped(value: float, _: Task, assumed: Assumed) -> float:
    """Of (base - candidate) / base, the two answering independently of each other."""
    base = assumed.base_score
    left = (1.0 - value) * base
    return (left * (1.0 - left) + (left / base) ** 2 * base * (1.0 - base)) / base**2


def _removed(value: float, task: Task, assumed: Assumed) -> float:
    """Of (base - candidate) / (base - chance), the two answering independently of each other."""
    base, known = assumed.base_score, _known(task, assumed)
    left = min(1.0, max(0.0, base - value * known))
    return (left * (1.0 - left) + (1.0 - value) ** 2 * base * (1.0 - base)) / known**2


def _back(value: float, task: Task, assumed: Assumed) -> float:
    """Of (candidate - control) / (base - control), the control at chance and all three independent."""
    base, chance, known = assumed.base_score, _chance(task), _known(task, assumed)
    left = chance + value * known
    own = left * (1.0 - left) + (1.0 - value) ** 2 * chance * (1.0 - chance) + value**2 * base * (1.0 - base)
    return own / known**2


_DIFFERENCE = _Model(honest=lambda _, __: 0.0, variance=_paired, low=-1.0, high=1.0)
_RECOVERED = _Model(honest=lambda _, __: 0.0, variance=_back, low=0.0, high=1.0)
_MODELS: Mapping[str, _Model] = {
    **dict.fromkeys(("ptq_gap", "dtype_gap", "retain_drop"), _DIFFERENCE),
    **dict.fromkeys(("relearn_recovery", "probe_recovery", "lens_recovery", "paraphrase_recovery"), _RECOVERED),
    "forget_drop": _Model(
        honest=lambda task, assumed: 1.0 - _chance(task) / assumed.base_score, variance=_dropped, low=0.0, high=1.0
    ),
    "above_chance_removed": _Model(honest=lambda _, __: 1.0, variance=_removed, low=0.0, high=math.inf),
}
