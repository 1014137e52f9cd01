"""One number learnt about one model, with its error."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval and its level, in the unit of the measurement it belongs to."""

    confidence: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"not an interval: [{self.low}, {self.high}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number learnt about one model, with its error and its count.

    Accuracies lie in [0, 1], log-likelihoods are in nats; `stderr` is a standard error. `subject` is
    the digest of the checkpoint that the number speaks of. `p_value` is the exact McNemar p where two
    sets of paired answers were compared.
    """

    subject: str
    precision: str
    task: str
    metric: str
    value: float
    samples: int
    stderr: float | None = None
    intervals: tuple[Interval, ...] = ()
    p_value: float | None = None

    def __post_init__(self) -> None:
        for name, number in (("value", self.value), ("stderr", self.stderr), ("p_value", self.p_value)):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.name}: {name} {number} is not finite")
        if self.samples < 1:
            raise ValueError(f"{self.name}: a measurement needs at least one sample")

    @property
    def name(self) -> str:
        """`metric[task-precision]`, the string a check, a pytest item and a JUnit case share."""
        return f"{self.metric}[{self.task}-{self.precision}]"

    def interval(self, confidence: float) -> Interval | None:
        """The interval at exactly this level, or None where none was computed."""
        return next((each for each in self.intervals if each.confidence == confidence), None)
