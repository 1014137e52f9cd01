"""What `policy show` prints: every limit that a policy means, where it comes from, and what it cannot tell."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.errors import ExitStatus
from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.lint import draft_warnings, policy_warnings
from unlearn_guard.judging.thresholds import DEFAULT, read_policy, resolve
from unlearn_guard.records import Limit, Task
from unlearn_guard.reports import wording

Row = tuple[str, str, str]


def show(policy: str | None, suite: str | None, tasks_dirs: Sequence[Path]) -> ExitStatus:
    """Print a policy; with a suite, its own or the one named, one row for each limit, else one for each rule."""
    draft = read_policy(policy or DEFAULT)
    name = suite or draft.suite
    rows, warnings = _rules(draft) if name is None else _limits(draft, name, tasks_dirs)
    table = Table(box=None, pad_edge=False)
    for column in ("limit", "bound", "because"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(wording.plain(cell)) for cell in row))
    console = Console()
    console.print(Text(f"policy {wording.plain(draft.path)}, suite {wording.plain(name or 'any')}"))
    console.print(table)
    for warning in warnings:
        console.print(Text(f"Warning: {wording.plain(warning)}", style="yellow"))
    return ExitStatus.PASSED


def _limits(draft: PolicyDraft, suite: str, tasks_dirs: Sequence[Path]) -> tuple[list[Row], tuple[str, ...]]:
    from unlearn_guard.registry import precisions
    from unlearn_guard.scoring.suites import load_suite

    # What is asked is not rendered here: a limit needs a task's name, role and metric alone.
    tasks = tuple(
        Task(
            name=each.name,
            role=each.role,
            metric=each.metric,
            chance=each.chance,
            items=1,
            digest="",
            measure=each.measure,
        )
        for each in load_suite(suite, tasks_dirs).tasks
    )
    limits = resolve(draft, tasks, precisions()).limits
    return [_row(limit) for limit in limits], policy_warnings(limits, tasks)


def _row(limit: Limit) -> Row:
    return limit.id, wording.bounds(limit), limit.because


def _rules(draft: PolicyDraft) -> tuple[list[Row], tuple[str, ...]]:
    return list(_unresolved(draft)), draft_warnings(draft)


def _unresolved(draft: PolicyDraft) -> Iterator[Row]:
    for rule in draft.rules:
        limit = Limit(
            metric=rule.metric,
            task=rule.task,
            precision=",".join(rule.precisions),
            at_least=rule.at_least,
            at_most=rule.at_most,
            confidence=rule.confidence,
            because=rule.because.strip(),
        )
        yield _row(limit)
