"""What one policy lets through that another would not: the question of whoever reads a changed policy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.records import Limit


class Kind(StrEnum):
    """What became of a limit, by the values that it admits; MOVED admits some that it did not, and the reverse."""

    LOOSENED = "loosened"
    REMOVED = "removed"
    MOVED = "moved"
    TIGHTENED = "tightened"
    ADDED = "added"

    @property
    def admits_more(self) -> bool:
        """Whether a candidate may pass it that failed before."""
        return self in (Kind.LOOSENED, Kind.REMOVED, Kind.MOVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One limit in two policies; None where a policy has none of this metric, task and precision."""

    kind: Kind
    before: Limit | None
    after: Limit | None

    @property
    def id(self) -> str:
        """The limit's name, the same in both."""
        limit = self.before or self.after
        return limit.id if limit is not None else ""


def changes(before: Sequence[Limit], after: Sequence[Limit]) -> tuple[Change, ...]:
    """Every limit that admits other values now, those that let more through first. Reasons are not compared."""
    old, new = ({limit.id: limit for limit in limits} for limits in (before, after))
    found = [
        Change(kind=kind, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys([*old, *new])
        if (kind := _kind(old.get(name), new.get(name))) is not None
    ]
    order = list(Kind)
    return tuple(sorted(found, key=lambda change: order.index(change.kind)))


def unresolved(draft: PolicyDraft) -> Iterator[Limit]:
    """A limit for each rule and precision of a policy whose suite is not known: `@forget` stands for its tasks."""
    for rule in draft.rules:
        for precision in rule.precisions:
            yield Limit(
                metric=rule.metric,
                task=rule.task,
                precision=precision,
                at_least=rule.at_least,
                at_most=rule.at_most,
                confidence=rule.confidence,
                because=rule.because.strip(),
            )


def _kind(before: Limit | None, after: Limit | None) -> Kind | None:
    if before is None or after is None:
        return Kind.ADDED if before is None else Kind.REMOVED
    steps = _steps(before, after)
    looser, tighter = any(step < 0 for step in steps), any(step > 0 for step in steps)
    if looser and tighter:
        return Kind.MOVED
    return Kind.LOOSENED if looser else Kind.TIGHTENED if tighter else None


def _steps(before: Limit, after: Limit) -> tuple[float, ...]:
    """Positive: asks for more. The two bounds, and the share of chance that an interval leaves (a point leaves all)."""
    return (
        _compared(_low(before), _low(after)),
        _compared(-_high(before), -_high(after)),
        _compared(before.confidence or 0.0, after.confidence or 0.0),
    )


def _compared(before: float, after: float) -> int:
    return (after > before) - (after < before)


def _low(limit: Limit) -> float:
    return -math.inf if limit.at_least is None else limit.at_least


def _high(limit: Limit) -> float:
    return math.inf if limit.at_most is None else limit.at_most
