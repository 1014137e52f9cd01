"""In one line, what the other of `paper` and `release` says of this run: it decides nothing."""

from typing import Any

from unlearn_guard.judging.second_opinion import SecondOpinion, second_opinion
from unlearn_guard.records import Outcome, Run
from unlearn_guard.reports import wording

_NAMED = 8  # of what was not measured


def line(run: Run) -> str:
    """`By the policy release: not established: relearn_recovery was not measured.`"""
    found = second_opinion(run)
    return f"By the policy {found.policy}: {_said(found)}."


def as_json(run: Run) -> dict[str, Any]:
    """The same for programs."""
    found = second_opinion(run)
    return {"policy": found.policy, "verdict": found.verdict.word if found.verdict else "incomplete", "says": line(run)}


def _said(found: SecondOpinion) -> str:
    verdict = found.verdict
    if verdict is None:
        return f"not established: it does not fit this suite ({wording.short(found.misfit)})"
    if verdict.passed:
        return f"passed, every one of {len(verdict.checks)} limits would have held"
    if broken := found.ids(Outcome.FAILED):
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        return f"failed, {wording.short(broken[0])}{more} would be broken"
    missing, open_ = found.unmeasured, len(found.ids(Outcome.INCONCLUSIVE))
    parts = [
        f"{_listed(missing)} {'was' if len(missing) == 1 else 'were'} not measured" if missing else "",
        f"{open_} of {len(verdict.checks)} limits would be inconclusive" if open_ else "",
        "" if verdict.complete else "not every item was asked",
    ]
    return f"not established: {'; '.join(part for part in parts if part)}"


def _listed(names: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b, c and 2 more`."""
    shown = [wording.short(each, 40) for each in names[:_NAMED]]
    *front, last = [*shown, f"{len(names) - _NAMED} more"] if len(names) > _NAMED else shown
    return f"{', '.join(front)} and {last}" if front else last
