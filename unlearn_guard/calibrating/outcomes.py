"""What a policy said of each candidate, beside its truth: verdicts, the limits that spoke, and how often wrongly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.thresholds import resolve
from unlearn_guard.records import Outcome, Property, Run, Verdict
from unlearn_guard.registry import precisions as known_precisions

PROPERTIES = (Property.FORGETTING, Property.PERMANENCE, Property.RETENTION, Property.ERASURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known of a candidate without the gate: does it know, and did it keep the rest."""

    knows: bool
    keeps: bool

    @property
    def deserves(self) -> bool:
        """Whether a PASS would be right."""
        return self.keeps and not self.knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One candidate by one policy. `title` names candidate and seed, `name` the candidate alone."""

    name: str
    title: str
    truth: Truth
    verdict: Verdict

    def broken(self) -> tuple[str, ...]:
        """The ids of the limits that failed."""
        return tuple(each.id for each in self.verdict.checks if each.outcome is Outcome.FAILED)

    def open(self) -> tuple[str, ...]:
        """The ids of the limits that were not established."""
        unsettled = (Outcome.INCONCLUSIVE, Outcome.UNMEASURED)
        return tuple(each.id for each in self.verdict.checks if each.outcome in unsettled)

    def breaks(self, guarded: Property) -> bool:
        """Whether a limit that guards this property failed."""
        return any(each.outcome is Outcome.FAILED and each.limit.guards is guarded for each in self.verdict.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many of how many, with Wilson's 95 % interval; None of none."""

    count: int
    of: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Binomial, 95 %."""
        if not self.of:
            return None
        from scipy.stats import binomtest

        bounds = binomtest(self.count, self.of).proportion_ci(0.95, method="wilson")
        return float(bounds.low), float(bounds.high)


def by_policy(run: Run, draft: PolicyDraft) -> Verdict:
    """The verdict of a policy on what this run measured; limits at precisions that it did not ask are left out.

    A limit at a measured precision whose metric is not there stays, unmeasured, and nothing passes.
    """
    asked = {each.precision for each in run.measurements}
    limits = resolve(draft, run.tasks, known_precisions()).limits
    return judge(
        tuple(each for each in limits if each.precision in asked),
        run.measurements,
        candidate=run.candidate.digest,
        complete=run.verdict.complete,
    )


def confusion(judged: Sequence[Judged]) -> Mapping[tuple[bool, str], int]:
    """How many candidates that (do not) deserve a PASS had each verdict: passed, incomplete, failed."""
    return {
        (deserves, word): sum(each.truth.deserves is deserves and each.verdict.word == word for each in judged)
        for deserves in (True, False)
        for word in ("passed", "incomplete", "failed")
    }


def false_passes(judged: Sequence[Judged]) -> Rate:
    """Of the candidates that deserve no PASS."""
    return _rate(judged, deserve=False, counted=lambda each: each.verdict.passed)


def false_alarms(judged: Sequence[Judged]) -> Rate:
    """Of the candidates that deserve a PASS, those with a broken limit; not established is none."""
    return _rate(judged, deserve=True, counted=lambda each: each.verdict.failed)


def caught_by(judged: Sequence[Judged], guarded: Property) -> tuple[Rate, Rate]:
    """Faults that a limit on this property caught, and deserving candidates that it turned away."""
    return (
        _rate(judged, deserve=False, counted=lambda each: each.breaks(guarded)),
        _rate(judged, deserve=True, counted=lambda each: each.breaks(guarded)),
    )


def _rate(judged: Sequence[Judged], *, deserve: bool, counted: Callable[[Judged], bool]) -> Rate:
    asked = [each for each in judged if each.truth.deserves is deserve]
    return Rate(count=sum(map(counted, asked)), of=len(asked))
