"""How far the verdict on one limit is from being decided by the items that were asked, and how many would decide it.

A limit on a point is always decided; of a broken one it is said whether sampling error alone could have carried the
value over the bound. A limit on an interval is inconclusive while the interval reaches over a bound; of it is said when
it no longer would. Neither changes an outcome.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from unlearn_guard.records.measurement import Measurement
from unlearn_guard.records.policy import Limit
from unlearn_guard.records.verdict import Check, Outcome

SHOWN = 0.95
"""The level at which a point is held against chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The `bound` that a value is not told from, and the `items` that would tell it.

    `items` is None where no number is known to: the value lies on the bound.
    """

    bound: float
    items: int | None


def doubt(check: Check) -> Doubt | None:
    """Of a limit on a point that is broken by less than its sampling error, and of one that is inconclusive; else None.

    The number holds if the value stays as it is and its error falls as errors do: a standard error with the root of the
    items, what is added for things never seen with the items themselves.
    """
    if check.measurement is None:
        return None
    if check.outcome is Outcome.FAILED and check.limit.confidence is None:
        return _within_noise(check.limit, check.measurement)
    if check.outcome is not Outcome.INCONCLUSIVE:
        return None
    if check.limit.confidence is not None:
        return _straddling(check, check.limit.confidence, check.corrected or check.measurement)
    return _biased(check.limit, check.measurement, check.corrected) if check.corrected is not None else None


def _within_noise(limit: Limit, measurement: Measurement) -> Doubt | None:
    """A point that is broken by less than z standard errors: n (z stderr / distance)^2 items would tell it apart."""
    bound = _nearest(limit, measurement.value)
    distance, reach = abs(measurement.value - bound), _z(SHOWN) * (measurement.stderr or 0.0)
    if reach <= distance:
        return None
    return Doubt(bound=bound, items=_items(measurement, reach / distance))


def _biased(limit: Limit, measurement: Measurement, corrected: Measurement) -> Doubt:
    """A point that holds by its items' noise alone, which falls with the root of the items or faster."""
    bound = _nearest(limit, corrected.value)
    distance, noise = abs(corrected.value - bound), abs(measurement.value - corrected.value)
    return Doubt(bound=bound, items=_items(measurement, noise / distance))


def _nearest(limit: Limit, value: float) -> float:
    """Of a value that is outside, the bound that it is beyond."""
    bounds = [each for each in (limit.at_least, limit.at_most) if each is not None]
    return min(bounds, key=lambda each: abs(value - each))


def _straddling(check: Check, level: float, measurement: Measurement) -> Doubt | None:
    """An interval that reaches over one bound or both: the more items of those that either needs."""
    interval, limit, value = check.interval, check.limit, measurement.value
    if interval is None:
        return None
    needed: list[Doubt] = []
    for bound in (each for each in (limit.at_least, limit.at_most) if each is not None):
        if interval.low <= bound <= interval.high:
            half = value - interval.low if bound < value else interval.high - value
            needed.append(Doubt(bound=bound, items=_clear(measurement, abs(value - bound), half, _z(level))))
    return max(needed, key=lambda each: math.inf if each.items is None else each.items, default=None)


def _clear(measurement: Measurement, distance: float, half: float, z: float) -> int | None:
    """The n' at which z stderr (n/n')^(1/2) + rest n/n' is the distance; `rest` is what `half` has beyond z stderr."""
    if distance == 0.0:
        return None
    reach = min(half, z * (half if measurement.stderr is None else measurement.stderr))
    # In shares of the distance and without squares: numbers as large as floats go give infinity, not an error.
    share, rest = reach / distance, (half - reach) / distance
    return _items(measurement, math.hypot(share / 2, math.sqrt(rest)) + share / 2)


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1.0 + level) / 2)


def _items(measurement: Measurement, shrink: float) -> int | None:
    """How many items make an error that falls with their root so much smaller, not below those there are."""
    items = measurement.samples * shrink**2 if shrink < 1e100 else math.inf
    return max(measurement.samples, math.ceil(items)) if items < 1e15 else None
