"""`policy show`, `policy diff` and `policy seal`: what a policy says, what changed in it, and that it came first."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.errors import ExitStatus
from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.lint import draft_warnings, policy_warnings
from unlearn_guard.judging.policy_changes import Change, changes, unresolved
from unlearn_guard.judging.thresholds import DEFAULT, read_policy, resolve
from unlearn_guard.processes.chatter import chatter_to
from unlearn_guard.records import Limit
from unlearn_guard.reports import wording


def show(policy: str | None, suite: str | None, tasks_dirs: Sequence[Path]) -> ExitStatus:
    """Print a policy's own text, and what it cannot tell as comments; with a suite, a row for each limit on it."""
    draft = read_policy(policy or DEFAULT)
    if suite is None:
        click.echo(draft.text, nl=not draft.text.endswith("\n"))
        for warning in draft_warnings(draft):
            click.echo(f"# Warning: {wording.plain(warning)}")
        return ExitStatus.PASSED
    limits, warnings = _limits(draft, suite, tasks_dirs)
    table = Table(box=None, pad_edge=False)
    for column in ("limit", "bound", "because"):
        table.add_column(column, overflow="fold")
    for limit in limits:
        row = (limit.id, wording.bounds(limit), limit.because)
        table.add_row(*(Text(wording.plain(cell)) for cell in row))
    console = Console()
    console.print(Text(f"policy {wording.plain(draft.path)}, suite {wording.plain(suite)}"))
    console.print(table)
    for warning in warnings:
        console.print(Text(f"Warning: {wording.plain(warning)}", style="yellow"))
    return ExitStatus.PASSED


def diff(before: str, after: str, suite: str | None, tasks_dirs: Sequence[Path], *, as_json: bool) -> ExitStatus:
    """Print which limits let more through in the second policy, and which less. The status says that it was printed."""
    drafts = read_policy(before), read_policy(after)
    if suite is None:
        old, new = (tuple(unresolved(draft)) for draft in drafts)
    else:
        old, new = (_limits(draft, suite, tasks_dirs)[0] for draft in drafts)
    found = changes(old, new)
    head = [(key, getattr(drafts[0], key), getattr(drafts[1], key)) for key in ("base", "suite", "precisions")]
    moved = [each for each in head if each[1] != each[2]]
    if as_json:
        click.echo(json.dumps(_as_json(found, moved), indent=1))
        return ExitStatus.PASSED
    for change in found:
        click.echo(f"{change.kind:<10}{wording.plain(change.id)}: {_bound(change.before)} -> {_bound(change.after)}")
        if change.after is not None and change.kind.admits_more:
            click.echo(f"{'':<10}because: {wording.plain(change.after.because)}")
    for key, left, right in moved:
        click.echo(f"{key:<10}{_named(left)} -> {_named(right)}")
    more = sum(change.kind.admits_more for change in found)
    click.echo(
        f"{more} of {len(found)} changed limits let through what {wording.plain(before)} refuses"
        if found
        else f"the same limits: {len(old)}"
    )
    return ExitStatus.PASSED


def seal(policy: str, suite: str | None, out: Path, **options: Any) -> ExitStatus:
    """Write down, before there is a candidate, by which rule and with which questions it will be judged."""
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.checking.policy_seal import make_seal, write_seal

        made = make_seal(policy, suite, **options)
        write_seal(made, out)
    click.echo(f"{out}: policy {made.policy}")
    for task in made.tasks:
        click.echo(f"  {wording.plain(task.name)}: {task.items} items, sha256 {task.digest}")
    click.echo(f"next: commit or sign {out}; then unlearn-guard check CANDIDATE --thresholds {policy} --seal {out} ...")
    return ExitStatus.PASSED


def _limits(draft: PolicyDraft, suite: str, tasks_dirs: Sequence[Path]) -> tuple[tuple[Limit, ...], tuple[str, ...]]:
    from unlearn_guard.records import Task
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
            phrasing=each.phrasing,
        )
        for each in load_suite(suite, tasks_dirs).tasks
    )
    limits = resolve(draft, tasks, precisions()).limits
    return limits, policy_warnings(limits, tasks)


def _bound(limit: Limit | None) -> str:
    return "no limit" if limit is None else wording.bounds(limit)


def _named(value: object) -> str:
    if value is None:
        return "not said"
    return wording.plain(",".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _as_json(found: Sequence[Change], moved: Sequence[tuple[str, Any, Any]]) -> dict[str, Any]:
    def sides(limit: Limit | None) -> dict[str, Any] | None:
        if limit is None:
            return None
        return {key: getattr(limit, key) for key in ("at_least", "at_most", "confidence", "because")}

    return {
        "limits": [
            {
                "id": change.id,
                "change": str(change.kind),
                "admits_more": change.kind.admits_more,
                "before": sides(change.before),
                "after": sides(change.after),
            }
            for change in found
        ],
        "others": {key: {"before": left, "after": right} for key, left, right in moved},
    }
