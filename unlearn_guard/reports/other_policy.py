"""In one line, what the other of `paper` and `release` says of this run: it decides nothing."""

from typing import Any

from unlearn_guard.judging.second_opinion import SecondOpinion, second_opinion
from unlearn_guard.records import Outcome, Run
from unlearn_guard.reports import wording

_NAMED = 3


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
        return f"failed, {_listed(broken)} would be broken"
    open_ = found.ids(Outcome.INCONCLUSIVE)
    parts = [
        f"{_and(found.unmeasured)} {'was' if len(found.unmeasured) == 1 else 'were'} not measured"
        if found.unmeasured
        else "",
        f"{_listed(open_)} would be inconclusive" if open_ else "",
        "" if verdict.complete else "not every item was asked",
    ]
    return f"not established: {'; '.join(part for part in parts if part)}"


def _listed(ids: tuple[str, ...]) -> str:
    names = [wording.short(each) for each in ids[:_NAMED]]
    more = [f"{len(ids) - _NAMED} more"] if len(ids) > _NAMED else []
    return _and((*names, *more))


def _and(names: tuple[str, ...]) -> str:
    *front, last = [wording.plain(each) for each in names]
    return f"{', '.join(front)} and {last}" if front else last
