"""`init suite` and `suite check`: what is told of a suite, and what to type next."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.command_line.commands import found_in
from unlearn_guard.errors import ExitStatus, SuiteError
from unlearn_guard.processes.chatter import chatter_to
from unlearn_guard.reports.wording import plain, short

if TYPE_CHECKING:
    from unlearn_guard.authoring.findings import BaseFindings, Shown, SuiteFindings, TaskFindings

HERE = Path("suites")
"""Where `init suite` writes when nothing else is said, and where `suite check` looks."""

_LONGEST = 1500


def init_command(options: dict[str, Any]) -> ExitStatus:
    """Write a suite, and say what it is and what to do with it."""
    from unlearn_guard.authoring.publishing import SuiteRequest, init_suite

    request = SuiteRequest(**options)
    made = init_suite(request)
    click.echo(f"{plain(str(made.suite.path))}: {plain(made.suite.title)}")
    for spec in made.suite.tasks:
        pairs = f", pairs {spec.pairs.name if isinstance(spec.pairs, Path) else spec.pairs}" if spec.pairs else ""
        click.echo(f"  {spec.role:<7} {spec.name}: {spec.metric}, chance {spec.chance:g}{pairs}")
    if made.ignored:
        click.echo(f"left out: {', '.join(short(key, 40) for key in made.ignored)}")
    if request.corpora is None:
        click.echo("`unlearn` trains on these questions themselves; texts on the subject say more: --corpora DIR")
    where = f"{shlex.quote(request.name)}{found_in([request.out])}"
    click.echo(f"next: unlearn-guard suite check {where} --base BASE")
    click.echo(f"      unlearn-guard unlearn METHOD --base BASE --suite {where} --out CANDIDATE")
    click.echo(f"      unlearn-guard check CANDIDATE --base BASE --suite {where}")
    return ExitStatus.PASSED


def check_command(name: str, base: str | None, *, tasks_dirs: tuple[Path, ...], **options: Any) -> ExitStatus:
    """Say what a suite asks and can tell. Raises SuiteError with its defects after all else was said."""
    looked = tasks_dirs or ((HERE,) if HERE.is_dir() else ())
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.authoring.findings import SuiteCheck
        from unlearn_guard.authoring.suite_check import check_suite

        found = check_suite(SuiteCheck(name=name, base=base, tasks_dirs=looked, **options))
    _print(found, Console())
    if found.defects:
        raise SuiteError(f"suite {found.suite.name} cannot be used as it is", found.defects)
    told = "" if base else "; what needs a tokenizer or a model was not looked at: --base PATH"
    click.echo(f"suite {found.suite.name} can be used{told}")
    return ExitStatus.PASSED


def _print(found: "SuiteFindings", console: Console) -> None:
    from unlearn_guard.judging.gap import DISCORDANCE

    where = plain(str(found.suite.path))
    console.print(Text(f"suite {found.suite.name} ({where}): {plain(found.suite.title)}"), soft_wrap=True)
    console.print(_tasks(found.tasks, found.base))
    console.print(
        Text(
            "smallest gap: the share of items, won net of lost, that is told from 0 (paired 95 % interval above 0, "
            f"exact McNemar p below 0.05) if {100 * DISCORDANCE:.0f} % of the answers change, as seen on a real model "
            "at 4 bits; more answers change only where the gap itself needs it"
        )
    )
    for each in (each for each in found.tasks if each.letters):
        letters = ", ".join(f"{letter} {count}" for letter, count in (each.letters or {}).items())
        click.echo(f"right answers of {each.task.name}: {letters}")
    for place, shown in enumerate(found.shown):
        _print_shown(shown, found.base.tokens[place] if found.base else None)
    click.echo()
    for pairs in found.base.pairs if found.base else ():
        click.echo(f"pairs of {pairs.task}, {pairs.source}: {pairs.usable} of {pairs.asked} usable, {pairs.used} used")
        for why, count in pairs.left_out.items():
            click.echo(f"  {count} not: {short(why, 200)}")
    _print_metrics(found, console)
    for warning in found.warnings:
        console.print(Text(f"Warning: {plain(warning)}", style="yellow"))
    for note in found.base.notes if found.base else ():
        console.print(Text(f"Note: {plain(note)}"))


def _tasks(tasks: "tuple[TaskFindings, ...]", base: "BaseFindings | None") -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("task", "role", "items", "metric", "chance", "base", "smallest gap"):
        if column != "base" or base is not None:
            table.add_column(column, overflow="fold")
    for each in tasks:
        task = each.task
        gap = "none" if each.gap is None else f"{each.gap:.3f}"
        score = base.scores[task.name] if base else None
        scored = [] if score is None else [f"{score.value:.3f}" + (f" +- {score.stderr:.3f}" if score.stderr else "")]
        known = f"{task.chance:g}" if task.role != "probe" else ""
        table.add_row(
            plain(task.name),
            task.role,
            str(task.items),
            plain(task.metric),
            known,
            *scored,
            gap if each.counted else "",
        )
    return table


def _print_shown(shown: "Shown", tokens: tuple[str, ...] | None) -> None:
    click.echo(f"\nthe first question of {shown.task}:")
    for line in _cut(shown.prompt).split("\n"):
        click.echo(f"  | {plain(line)}")
    if shown.choices:
        click.echo(f"  choices {', '.join(map(_quoted, shown.choices))}; right: {_right(shown)}")
    else:
        click.echo(f"  right: {_quoted(shown.target)}")
    if tokens is None:
        click.echo("  tokens: not shown without --base")
    else:
        click.echo(f"  {len(tokens)} tokens: {_cut('|'.join(map(plain, tokens)))}")


def _right(shown: "Shown") -> str:
    at = int(shown.target) if shown.target.isdecimal() else -1
    return _quoted(shown.choices[at] if 0 <= at < len(shown.choices) else shown.target)


def _quoted(text: str) -> str:
    return f'"{short(text, 80)}"'


def _cut(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


def _print_metrics(found: "SuiteFindings", console: Console) -> None:
    from unlearn_guard.judging.metrics import METRICS

    console.print(Text(f"measured: {', '.join(name for name in METRICS if name not in found.unmeasured)}"))
    by_reason: dict[str, list[str]] = {}
    for name, why in found.unmeasured.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        console.print(Text(f"not measured: {', '.join(names)}: {why}"))
