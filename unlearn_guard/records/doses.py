"""The positive control of a verdict: how little of base, mixed into the candidate, the gate would have caught."""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_guard.records.measurement import Measurement
from unlearn_guard.records.names import FULL
from unlearn_guard.records.policy import Limit
from unlearn_guard.records.verdict import Check, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose:
    """What the forget tasks say of (1 - share) * candidate + share * base, weight by weight, in full precision.

    The measurements carry the candidate's digest: they are what it would have been said of it.
    """

    share: float
    measurements: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ValueError(f"a dose of {self.share} is not between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The smallest `share` of base from which on every dose was caught, and the limits that caught it.

    None: the largest dose would have been let through, or no limit of the policy asks what doses were asked.
    """

    share: float | None
    limits: tuple[str, ...]
    asked: tuple[float, ...]


def certificate(doses: Sequence[Dose], limits: Sequence[Limit]) -> Certificate | None:
    """By the policy's limits in full precision on what each dose was measured for; None where there are no doses.

    Caught is what would not have passed: broken or inconclusive.
    """
    if not doses:
        return None
    share: float | None = None
    caught_by: tuple[str, ...] = ()
    for dose in sorted(doses, key=lambda each: -each.share):
        caught = _caught(dose, limits)
        if not caught:
            break
        share, caught_by = dose.share, caught
    return Certificate(share=share, limits=caught_by, asked=tuple(sorted(each.share for each in doses)))


def _caught(dose: Dose, limits: Sequence[Limit]) -> tuple[str, ...]:
    measured = {(each.metric, each.task): each for each in dose.measurements if each.precision == FULL}
    checks = [
        Check(limit=each, measurement=measured[each.metric, each.task])
        for each in limits
        if each.precision == FULL and (each.metric, each.task) in measured
    ]
    return tuple(each.id for each in checks if each.outcome is not Outcome.PASSED)
