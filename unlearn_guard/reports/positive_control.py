"""The certificate of a run in one line: how little of base, mixed into the candidate, this gate would have caught."""

from unlearn_guard.records import FULL, Outcome, Run, certificate
from unlearn_guard.reports import wording


def line(run: Run) -> str | None:
    """`Positive control: with 10 % of base mixed in this gate would have caught it ...`; None where none was asked."""
    found = certificate(run.doses, run.policy.limits)
    if found is None:
        return None
    asked = f"doses asked: {', '.join(f'{share:.0%}'.replace('%', ' %') for share in found.asked)}"
    if _caught_without(run):
        return f"Positive control: none is needed, the candidate itself does not pass ({asked})."
    if found.share is None:
        return (
            "Positive control: NONE of the doses was caught: what this gate asks of the forget items in full precision "
            f"would have let {found.asked[-1]:.0%} of base through ({asked})."
        ).replace("% of base", " % of base")
    by = wording.short(found.limits[0]) + (f" and {len(found.limits) - 1} more" if len(found.limits) > 1 else "")
    smallest = f"{found.share:.0%}".replace("%", " %")
    return f"Positive control: with {smallest} of base mixed in, this gate would have caught it, by {by} ({asked})."


def _caught_without(run: Run) -> bool:
    """Whether a limit that the doses were asked for does not hold for the candidate as it is."""
    asked = {(each.metric, each.task) for dose in run.doses for each in dose.measurements}
    return any(
        check.outcome is not Outcome.PASSED
        for check in run.verdict.checks
        if check.limit.precision == FULL and (check.limit.metric, check.limit.task) in asked
    )
