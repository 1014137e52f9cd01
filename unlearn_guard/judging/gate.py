"""The loop that puts limits and measurements together, and what a shell is told of it.

The loop runs over what is required, not over what was found: a number nobody measured is a check that
is UNMEASURED, and an extra number changes nothing.
"""

from collections.abc import Sequence

from unlearn_guard.errors import ExitStatus, ScoringError
from unlearn_guard.records import CORRECTED, Check, Limit, Measurement, Verdict


def judge(limits: Sequence[Limit], measurements: Sequence[Measurement], *, candidate: str, complete: bool) -> Verdict:
    """One check for each limit, in order, against the candidate's measurement of that metric, task and precision.

    Where the metric was measured without its bias too (`cad_corrected`), a limit on a point holds both.
    `complete` is False when part of the items was asked (`--limit`): such a verdict never passes.
    Raises ScoringError when two measurements answer to one limit.
    """
    return Verdict(
        checks=tuple(
            Check(
                limit=limit,
                measurement=_measured(limit, limit.metric, measurements, candidate),
                corrected=_measured(limit, limit.metric + CORRECTED, measurements, candidate),
            )
            for limit in limits
        ),
        complete=complete,
    )


def exit_status(verdict: Verdict) -> ExitStatus:
    """0 when the verdict passed, 1 when a limit is broken (whatever else is missing), 5 otherwise."""
    if verdict.passed:
        return ExitStatus.PASSED
    return ExitStatus.FAILED if verdict.failed else ExitStatus.NOT_ESTABLISHED


def _measured(limit: Limit, metric: str, measurements: Sequence[Measurement], candidate: str) -> Measurement | None:
    wanted = (candidate, metric, limit.task, limit.precision)
    found = [each for each in measurements if (each.subject, each.metric, each.task, each.precision) == wanted]
    if len(found) > 1:
        raise ScoringError(f"{limit.id}: {len(found)} measurements answer to this limit; there must be one")
    return found[0] if found else None
