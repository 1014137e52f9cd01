"""The verdict in a sentence for people who do not read tables, and the four properties it is made of."""

from collections.abc import Iterable
from dataclasses import dataclass

from unlearn_guard.records import Check, Outcome, Property, Run
from unlearn_guard.reports import wording

ORDER = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.UNMEASURED, Outcome.PASSED)
"""Worst first."""

_QUESTIONS = {
    Property.FORGETTING: "Has it forgotten as much as the policy asks?",
    Property.PERMANENCE: "Does that last when the model is quantized?",
    Property.RETENTION: "Has it kept as much as the policy asks?",
    Property.ERASURE: "Has the mechanism behind it changed, not only the answer?",
    Property.REPORTED: "Do the other numbers of the policy hold?",
}
_HELD = {
    Property.FORGETTING: "it has forgotten as much as the policy asks",
    Property.PERMANENCE: "quantizing it does not bring that back",
    Property.RETENTION: "it has kept as much as the policy asks",
    Property.ERASURE: "the mechanism behind the knowledge has changed as required",
    Property.REPORTED: "the policy's other limits hold",
}
_BROKEN = {
    Property.FORGETTING: "it still knows what it was asked to forget",
    Property.PERMANENCE: "quantized, it knows more than it may of what it was asked to forget",
    Property.RETENTION: "it has lost too much of what it should keep",
    Property.ERASURE: "the mechanism behind the knowledge has not been changed as required",
    Property.REPORTED: "a limit on another number is broken",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One property: the worst outcome among its limits, and how many of them held."""

    guards: Property
    outcome: Outcome
    held: int
    checks: tuple[Check, ...]

    @property
    def question(self) -> str:
        """What the property asks."""
        return _QUESTIONS[self.guards]

    @property
    def answer(self) -> str:
        """Yes, No, or Not established."""
        return {Outcome.PASSED: "Yes", Outcome.FAILED: "No"}.get(self.outcome, "Not established")


def scorecard(run: Run) -> tuple[Score, ...]:
    """The properties that the policy has a limit on, in the order of the four."""
    return tuple(
        Score(
            guards=guards,
            outcome=min((check.outcome for check in checks), key=ORDER.index),
            held=sum(check.outcome is Outcome.PASSED for check in checks),
            checks=checks,
        )
        for guards in Property
        if (checks := tuple(check for check in run.verdict.checks if check.limit.guards is guards))
    )


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """Failed, inconclusive, never measured, passed; within each the policy's order."""
    return sorted(checks, key=lambda check: ORDER.index(check.outcome))


def sentence(run: Run) -> str:
    """May this model be released under its policy, and why: for somebody who was not there."""
    scores, policy = scorecard(run), wording.short(run.policy.path)
    if run.verdict.passed:
        return f"This model may be released under the policy {policy}: {_list(_held(score) for score in scores)}."
    if run.verdict.failed:
        why = _list(_why(score) for score in scores if score.outcome is Outcome.FAILED)
        return f"This model must not be released under the policy {policy}: {why}."
    if not run.verdict.complete:
        return (
            "Nothing has been established: only part of the questions was asked, so this model must not be "
            f"released under the policy {policy}."
        )
    missing = _list(score.guards for score in scores if score.outcome is not Outcome.PASSED)
    return (
        f"Whether this model may be released under the policy {policy} has not been established, so it must not be: "
        f"what is missing is evidence of {missing or 'anything at all'}."
    )


def _held(score: Score) -> str:
    """What holds; where it depends on the format, in which: nothing was shown of the others."""
    text = _HELD[score.guards]
    return f"{text} ({_where(score.checks)})" if score.guards is Property.PERMANENCE else text


def _why(score: Score) -> str:
    """What is broken and at which precisions."""
    return f"{_BROKEN[score.guards]} ({_where(check for check in score.checks if check.outcome is Outcome.FAILED)})"


def _where(checks: Iterable[Check]) -> str:
    return _list(wording.short(precision, 24) for precision in dict.fromkeys(check.limit.precision for check in checks))


def _list(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *front, last = [*words] or [""]
    return f"{', '.join(front)} and {last}" if front else last
