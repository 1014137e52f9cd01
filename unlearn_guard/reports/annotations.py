"""The limits that did not hold, as GitHub shows them beside the policy's own lines: at most ten, worst first."""

from pathlib import Path

from unlearn_guard.records import Check, Outcome, Run
from unlearn_guard.reports import wording
from unlearn_guard.reports.scorecard import worst_first

MOST = 10
"""What GitHub shows of one step and kind; more would be dropped without a word."""


def annotations(run: Run) -> tuple[str, ...]:
    """Workflow commands, one a line. Beyond ten the last says how many were left out; none for a pass."""
    broken = [check for check in _by_margin(run) if check.outcome is not Outcome.PASSED]
    if not broken and not run.verdict.passed:
        return (f"::error title=unlearn-guard::{_data(wording.headline(run))}",)
    if len(broken) <= MOST:
        return tuple(_command(check, run) for check in broken)
    left = len(broken) - MOST + 1
    more = f"::error title=unlearn-guard::{left} more limits did not hold; the step summary and report.html list them"
    return (*(_command(check, run) for check in broken[: MOST - 1]), more)


def _by_margin(run: Run) -> list[Check]:
    """Worst outcome first, in it the margin that is the most negative."""
    margins = sorted(run.verdict.checks, key=lambda check: 0.0 if check.margin is None else check.margin)
    return worst_first(margins)


def _command(check: Check, run: Run) -> str:
    kind = "error" if check.outcome is Outcome.FAILED else "warning"
    properties = [f"title={_property(f'{wording.outcome(check)} {wording.short(check.id)}')}"]
    if (file := policy_file(run)) is not None:
        properties.insert(0, f"file={_property(wording.plain(file))}")
        properties += [f"line={check.limit.line}"] if check.limit.line else []
    limit = f"value {wording.value(check)}, limit {wording.bounds(check.limit)}."
    return f"::{kind} {','.join(properties)}::{_data(f'{limit} {wording.next_step(check)}'[:2000])}"


def policy_file(run: Run) -> str | None:
    """The policy's path from where we stand, or None for a shipped policy's name, which is no file here."""
    path = Path(run.policy.path)
    if path.suffix not in (".yaml", ".yml"):
        return None
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
