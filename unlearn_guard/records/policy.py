"""Rules: which measurement has to lie where, and on whose word."""

import math
from dataclasses import dataclass, field
from enum import StrEnum


class Property(StrEnum):
    """Which of the four properties a number speaks for; REPORTED stands beside them, without a default limit."""

    FORGETTING = "forgetting"
    PERMANENCE = "permanence"
    RETENTION = "retention"
    ERASURE = "erasure"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One rule: where one measurement of the candidate has to lie, and on whose word.

    Without `confidence` the point value is compared, unrounded, and the corrected one where there is one. With it the
    whole interval at that level has to lie inside. `guards` is the property the limit protects, as the policy's reader
    knows it.
    """

    metric: str
    task: str
    precision: str
    at_least: float | None = None
    at_most: float | None = None
    confidence: float | None = None
    because: str
    guards: Property = Property.REPORTED
    line: int | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not bounds or not all(map(math.isfinite, bounds)):
            raise ValueError(f"{self.id}: a limit needs at_least or at_most, both finite")
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise ValueError(f"{self.id}: at_least {bounds[0]} is above at_most {bounds[1]}")

    @property
    def id(self) -> str:
        """`metric[task-precision]`, as in `ptq_gap[organism_forget-nf4]`."""
        return f"{self.metric}[{self.task}-{self.precision}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy file as read: its limits by metric, task and precision, and what `check` may take from it.

    `text` is what the file holds, byte for byte, so that the limits can be had from it again.
    """

    path: str
    digest: str
    limits: tuple[Limit, ...]
    base: str | None = None
    suite: str | None = None
    precisions: tuple[str, ...] | None = None
    text: str = field(default="", repr=False)
