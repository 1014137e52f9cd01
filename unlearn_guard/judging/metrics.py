"""Every number the guard can produce: what it speaks for, where it exists, and where a limit on it may lie.

A policy is held against this table before anything is measured, so that a limit on a number nobody
produces is a usage error and not a check that waits for ever. The scores of tasks (`acc`, `rougeL`)
are not listed: their names are lm-eval's and come with the suite.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from unlearn_guard.records import (
    DEPTH,
    FORGET_QUALITY,
    FULL,
    LENS,
    MIA,
    MIA_REFERENCE,
    MODEL_UTILITY,
    PRIVLEAK,
    PROBE,
    RELEARN,
    REPETITION,
    RESIDUES,
    TIED,
    Property,
    Role,
)

NF4 = "nf4"
SPREAD = "calibration_spread"


class Asks(StrEnum):
    """What a metric is made for: tasks of some roles, the weights themselves, or the suite as a whole."""

    FORGET = "forget tasks"
    RETAIN = "retain tasks"
    ANY = "every task"
    TASKS = "forget and retain tasks"
    PROBE = "probes"
    ALL = "every task, probes too"
    LIKELIEST = "tasks counted by their likeliest choice"
    WRITTEN = "tasks answered in words"
    WEIGHTS = "the weights"
    SUITE = "the suite as a whole"

    def admits(self, role: Role) -> bool:
        """Whether a task of this role has the metric."""
        if self in (Asks.ANY, Asks.ALL, Asks.LIKELIEST, Asks.WRITTEN):
            return True
        if role is Role.PROBE:
            return self is Asks.PROBE
        return self is Asks.TASKS or self is (Asks.FORGET if role is Role.FORGET else Asks.RETAIN)


class Where(StrEnum):
    """The precisions a metric exists at."""

    EVERYWHERE = "every precision"
    QUANTIZED = "every quantized precision"
    DENSE = "full and nf4"
    NF4_ONLY = "nf4"

    def admits(self, precision: str) -> bool:
        """Whether the metric exists at this precision."""
        match self:
            case Where.EVERYWHERE:
                return True
            case Where.QUANTIZED:
                return precision != FULL
            case Where.DENSE:
                return precision in (FULL, NF4)
            case Where.NF4_ONLY:
                return precision == NF4


class Safer(StrEnum):
    """On which side of a metric nothing is at risk."""

    HIGHER = "higher"
    LOWER = "lower"
    BETWEEN = "between"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: its unit, the range [low, high] a limit on it may lie in, and where it is measured.

    The range is that of sensible limits, so that 30 written for 0.30 is caught; a measured value may
    lie outside it (`forget_drop` of a candidate that knows twice what base knew is -1). `untouched` is what a model
    has of which nothing was unlearned, or where the range begins: a lower bound there is broken by no candidate.
    """

    name: str
    asks: Asks
    where: Where
    low: float
    high: float
    unit: str
    guards: Property
    safer: Safer
    untouched: float


_SAFER = {
    **dict.fromkeys(("ptq_gap", "dtype_gap", "retain_drop", "as_nc", "as_nc_corrected", "recovery"), Safer.LOWER),
    **dict.fromkeys(("paraphrase_recovery", RELEARN, PROBE, LENS), Safer.LOWER),
    DEPTH: Safer.HIGHER,
    **dict.fromkeys((SPREAD, "truncated", "noise_ratio", TIED, REPETITION), Safer.LOWER),
    **dict.fromkeys(("forget_drop", "above_chance_removed", "cad", "cad_corrected", "quantized_share"), Safer.HIGHER),
    **dict.fromkeys((FORGET_QUALITY, "forget_truth_ratio", MODEL_UTILITY, "floor_survival"), Safer.HIGHER),
    **dict.fromkeys((PRIVLEAK, MIA, MIA_REFERENCE), Safer.BETWEEN),
    "lineage": Safer.HIGHER,
}
_UNTOUCHED = dict.fromkeys(("forget_drop", "above_chance_removed"), 0.0)


def _metric(name: str, asks: Asks, where: Where, bounds: tuple[float, float], unit: str, guards: Property) -> Metric:
    return Metric(
        name=name,
        asks=asks,
        where=where,
        low=bounds[0],
        high=bounds[1],
        unit=unit,
        guards=guards,
        safer=_SAFER.get(name, Safer.NEITHER),
        untouched=_UNTOUCHED.get(name, bounds[0]),
    )


_SHARE, _DIFFERENCE, _RATIO = (0.0, 1.0), (-1.0, 1.0), (-2.0, 2.0)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric("forget_drop", Asks.FORGET, Where.EVERYWHERE, _DIFFERENCE, "share of base", Property.FORGETTING),
        _metric("ptq_gap", Asks.FORGET, Where.QUANTIZED, _DIFFERENCE, "accuracy", Property.PERMANENCE),
        _metric(SPREAD, Asks.FORGET, Where.QUANTIZED, _SHARE, "accuracy", Property.REPORTED),
        _metric("dtype_gap", Asks.FORGET, Where.DENSE, _DIFFERENCE, "accuracy", Property.FORGETTING),
        _metric("retain_drop", Asks.RETAIN, Where.EVERYWHERE, _DIFFERENCE, "accuracy", Property.RETENTION),
        _metric("cad", Asks.FORGET, Where.DENSE, (0.0, 10.0), "share of base", Property.ERASURE),
        _metric("as_nc", Asks.FORGET, Where.DENSE, (0.0, 10.0), "share of base", Property.ERASURE),
        _metric("as_c", Asks.FORGET, Where.DENSE, (0.0, 10.0), "share of base", Property.REPORTED),
        _metric("activation_shift_c", Asks.TASKS, Where.DENSE, (0.0, math.inf), "share of base", Property.REPORTED),
        _metric("activation_shift_nc", Asks.TASKS, Where.DENSE, (0.0, math.inf), "share of base", Property.REPORTED),
        _metric("cad_corrected", Asks.FORGET, Where.DENSE, (0.0, 10.0), "share of base", Property.ERASURE),
        _metric("as_nc_corrected", Asks.FORGET, Where.DENSE, (0.0, 10.0), "share of base", Property.ERASURE),
        _metric("as_c_corrected", Asks.FORGET, Where.DENSE, (0.0, 10.0), "share of base", Property.REPORTED),
        _metric("noise_ratio", Asks.FORGET, Where.DENSE, (0.0, math.inf), "deviations a mean", Property.REPORTED),
        _metric(
            "activation_shift_c_corrected", Asks.TASKS, Where.DENSE, (0.0, math.inf), "share of base", Property.REPORTED
        ),
        _metric(
            "activation_shift_nc_corrected",
            Asks.TASKS,
            Where.DENSE,
            (0.0, math.inf),
            "share of base",
            Property.REPORTED,
        ),
        _metric("above_chance_removed", Asks.FORGET, Where.EVERYWHERE, _RATIO, "share of base", Property.FORGETTING),
        _metric("paraphrase_recovery", Asks.SUITE, Where.EVERYWHERE, _SHARE, "share of base", Property.FORGETTING),
        *(_metric(name, Asks.FORGET, Where.DENSE, _SHARE, "share of base", Property.ERASURE) for name in RESIDUES),
        _metric("recovery", Asks.FORGET, Where.QUANTIZED, _RATIO, "share of what was removed", Property.REPORTED),
        _metric(PRIVLEAK, Asks.PROBE, Where.EVERYWHERE, (-100.0, 1000.0), "percent", Property.FORGETTING),
        _metric(FORGET_QUALITY, Asks.PROBE, Where.EVERYWHERE, _SHARE, "p-value", Property.FORGETTING),
        _metric("forget_truth_ratio", Asks.PROBE, Where.EVERYWHERE, _SHARE, "truth ratio", Property.FORGETTING),
        _metric(MIA, Asks.PROBE, Where.EVERYWHERE, _SHARE, "AUC", Property.FORGETTING),
        _metric(MIA_REFERENCE, Asks.PROBE, Where.EVERYWHERE, _SHARE, "AUC", Property.FORGETTING),
        _metric(MODEL_UTILITY, Asks.SUITE, Where.EVERYWHERE, _SHARE, "harmonic mean", Property.RETENTION),
        _metric("truncated", Asks.ALL, Where.EVERYWHERE, (0.0, math.inf), "items", Property.REPORTED),
        _metric(REPETITION, Asks.WRITTEN, Where.EVERYWHERE, _SHARE, "share of 4-grams", Property.REPORTED),
        _metric(TIED, Asks.LIKELIEST, Where.EVERYWHERE, _SHARE, "share of items", Property.REPORTED),
        _metric("code_flip_rate", Asks.WEIGHTS, Where.NF4_ONLY, _SHARE, "share of codes", Property.REPORTED),
        _metric("update_to_bin", Asks.WEIGHTS, Where.NF4_ONLY, (0.0, math.inf), "bin widths", Property.REPORTED),
        _metric("quantized_share", Asks.WEIGHTS, Where.QUANTIZED, _SHARE, "share of weights", Property.PERMANENCE),
        _metric("lineage", Asks.WEIGHTS, Where.QUANTIZED, _SHARE, "share of layers", Property.PERMANENCE),
        _metric("floor_survival", Asks.WEIGHTS, Where.NF4_ONLY, _SHARE, "share of weights", Property.REPORTED),
    )
}
"""The derived metrics, in the order of the design's table."""


def score(name: str, unbounded: bool = False) -> Metric:
    """A task's own score, a fraction in [0, 1] (a probe's: any number from 0), under lm-eval's name for it."""
    return Metric(
        name=name,
        asks=Asks.ANY,
        where=Where.EVERYWHERE,
        low=0.0,
        high=math.inf if unbounded else 1.0,
        unit="the probe's own" if unbounded else "accuracy",
        guards=Property.REPORTED,
        safer=Safer.NEITHER,
        untouched=0.0,
    )


def guarded_by(metric: Metric, precision: str, role: Role | None) -> Property:
    """The property a limit protects: the metric's, save that forgetting at a quantized precision is permanence.

    A limit on a task's score itself guards what its role asks for.
    """
    guards = metric.guards
    if metric.asks is Asks.ANY and role in (Role.RETAIN, Role.FORGET):
        guards = Property.RETENTION if role is Role.RETAIN else Property.FORGETTING
    if guards is Property.FORGETTING and precision != FULL:
        return Property.PERMANENCE
    return guards
