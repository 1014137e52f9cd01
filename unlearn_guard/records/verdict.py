"""Limits beside what was measured, and what became of them."""

import math
import sys
from dataclasses import dataclass
from enum import StrEnum

from unlearn_guard.records.measurement import Interval, Measurement
from unlearn_guard.records.policy import Limit


class Outcome(StrEnum):
    """What became of one limit. There is no default, and only PASSED lets a release through."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A limit and the measurement it was held against, or None where nobody measured it.

    `corrected` is the same quantity without its bias, where that was measured too: a limit on a point passes only
    where both lie inside. With `confidence` the interval counts, which is of the corrected one already.
    """

    limit: Limit
    measurement: Measurement | None
    corrected: Measurement | None = None

    @property
    def id(self) -> str:
        """The limit's id."""
        return self.limit.id

    @property
    def interval(self) -> Interval | None:
        """The interval that the limit asks for; without `confidence`, the 95 % one that reports show."""
        return self.measurement.interval(self.limit.confidence or 0.95) if self.measurement else None

    @property
    def margin(self) -> float | None:
        """Distance from the point value to the nearest bound, in the metric's unit; negative when it is broken.

        Of a point limit it is the worse of the value's and the corrected value's. Always finite: a distance that no
        float holds is the largest one.
        """
        if self.measurement is None:
            return None
        low, high, values = self.limit.at_least, self.limit.at_most, self._points(self.measurement)
        slack = [] if low is None else [value - low for value in values]
        nearest = min(slack if high is None else [*slack, *(high - value for value in values)])
        return max(-sys.float_info.max, min(nearest, sys.float_info.max))

    @property
    def outcome(self) -> Outcome:
        """PASSED only on evidence: a missing measurement or interval, or one that straddles a bound, is not a pass."""
        if self.measurement is None:
            return Outcome.UNMEASURED
        low = -math.inf if self.limit.at_least is None else self.limit.at_least
        high = math.inf if self.limit.at_most is None else self.limit.at_most
        if self.limit.confidence is None:
            if not low <= self.measurement.value <= high:
                return Outcome.FAILED
            held = all(low <= value <= high for value in self._points(self.measurement))
            return Outcome.PASSED if held else Outcome.INCONCLUSIVE
        if self.interval is None:
            return Outcome.INCONCLUSIVE
        if low <= self.interval.low and self.interval.high <= high:
            return Outcome.PASSED
        outside = self.interval.high < low or self.interval.low > high
        return Outcome.FAILED if outside else Outcome.INCONCLUSIVE

    def _points(self, measurement: Measurement) -> list[float]:
        if self.corrected is None or self.limit.confidence is not None:
            return [measurement.value]
        return [measurement.value, self.corrected.value]


_LINE = 160
"""Characters: pytest cuts what it shows of a value after 240."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Every check of a policy. `complete` is False when only part of the items was asked (`--limit`)."""

    checks: tuple[Check, ...]
    complete: bool

    def __repr__(self) -> str:
        """What a failed `assert verdict.passed` is to say: the limits that did not hold, as far as a line goes."""
        found = [f"{check.id} {check.outcome}" for check in self.checks if check.outcome is not Outcome.PASSED]
        shown = [text for place, text in enumerate(found) if len(", ".join(found[: place + 1])) <= _LINE] or found[:1]
        more = [f"{len(found) - len(shown)} more"] if len(found) > len(shown) else []
        part = [] if self.complete else ["not every item was asked"]
        return f"<Verdict {self.word}: {', '.join([*shown, *more, *part]) or f'{len(self.checks)} limits held'}>"

    @property
    def passed(self) -> bool:
        """True when there is a check, every one passed, and every item was asked."""
        return self.complete and bool(self.checks) and all(check.outcome is Outcome.PASSED for check in self.checks)

    @property
    def failed(self) -> bool:
        """True when at least one limit is known to be broken."""
        return any(check.outcome is Outcome.FAILED for check in self.checks)

    @property
    def word(self) -> str:
        """`passed`, `failed` or `incomplete`, as run.json writes it."""
        return "passed" if self.passed else "failed" if self.failed else "incomplete"
