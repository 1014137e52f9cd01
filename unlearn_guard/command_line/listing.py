"""What `list` prints: the names that a flag or a policy may say."""

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unlearn_guard.errors import ExitStatus

if TYPE_CHECKING:
    from unlearn_guard.judging.draft import PolicyDraft
    from unlearn_guard.scoring.suites import TaskSpec


def list_command(what: str, tasks_dirs: tuple[Path, ...], methods_dir: Path | None, *, as_json: bool) -> ExitStatus:
    """Print names, one a line, with a word on each where there is one; of suites also what they ask."""
    if what == "suites" and not as_json:
        return _explain_suites(tasks_dirs)
    asked = {
        "methods": lambda: _methods(methods_dir),
        "tasks": lambda: _tasks(tasks_dirs),
        "suites": lambda: _suites(tasks_dirs),
        **_LISTS,
    }
    rows = asked[what]()
    if as_json:
        click.echo(json.dumps(_by_name(rows), indent=1))
        return ExitStatus.PASSED
    for name, about in rows:
        click.echo(f"{name:<27} {about}".rstrip())
    return ExitStatus.PASSED


def _by_name(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
    """An object a name; a row without one says more of the name above it."""
    found: list[dict[str, str]] = []
    for name, about in rows:
        if name:
            found.append({"name": name, "about": about})
        else:
            found[-1]["about"] += f"; {about}"
    return found


def _methods(folder: Path | None) -> list[tuple[str, str]]:
    from unlearn_guard.registry import methods

    return [(name, found.about) for name, found in methods([folder] if folder else []).items()]


def _policies() -> list[tuple[str, str]]:
    from unlearn_guard.judging.lint import draft_warnings
    from unlearn_guard.judging.thresholds import list_policies, read_policy

    drafts = {name: read_policy(name) for name in list_policies()}
    return [
        row
        for name, draft in drafts.items()
        for row in [
            (name, f"{len(draft.rules)} rules: {_about(draft)}"),
            *(("", f"warning: {each}") for each in draft_warnings(draft)),
        ]
    ]


def _about(draft: "PolicyDraft") -> str:
    """The first sentence of the comment that the policy's file begins with, without its name."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), draft.text.splitlines())
    sentence = " ".join(line.lstrip("# ") for line in lines).partition(". ")[0].rstrip(".")
    return sentence.removeprefix(f"`{draft.path}`: ")


def _precisions() -> list[tuple[str, str]]:
    from unlearn_guard.registry import about_precision, precisions

    return [(name, about_precision(name, entry)) for name, entry in precisions().items()]


def _suites(tasks_dirs: tuple[Path, ...]) -> list[tuple[str, str]]:
    from unlearn_guard.scoring.suites import list_suites

    return [(suite.name, suite.title) for suite in list_suites(tasks_dirs)]


def _explain_suites(tasks_dirs: tuple[Path, ...]) -> ExitStatus:
    from unlearn_guard.scoring.suites import list_suites

    for suite in list_suites(tasks_dirs):
        click.echo(f"{suite.name:<16}{suite.title}")
        click.echo(click.wrap_text(suite.description, width=100, initial_indent="    ", subsequent_indent="    "))
        for task in suite.tasks:
            known = f", chance {task.chance:g}" if task.role != "probe" else ""
            extra = "".join(f", {what} {value}" for what, value in _extras(task) if value is not None)
            click.echo(f"    {task.role:<8}{task.name:<30}{task.metric}{known}{extra}")
    return ExitStatus.PASSED


def _extras(task: "TaskSpec") -> tuple[tuple[str, object], ...]:
    pairs = task.pairs.name if isinstance(task.pairs, Path) else task.pairs
    phrasing = None if task.phrasing == "trained" else "held out"
    return (
        ("phrasing", phrasing),
        ("measure", task.measure),
        ("retrained", task.retrained),
        ("floor", task.floor),
        ("pairs", pairs),
    )


def _tasks(tasks_dirs: tuple[Path, ...]) -> list[tuple[str, str]]:
    from unlearn_guard.scoring.catalogue import defined
    from unlearn_guard.scoring.suites import list_suites

    of_suites = {
        task.name: f"{task.role} task of suite {suite.name}"
        for suite in list_suites(tasks_dirs)
        for task in suite.tasks
    }
    return sorted({**dict.fromkeys(defined(tasks_dirs), "for suites of your own"), **of_suites}.items())


_LISTS = {"policies": _policies, "precisions": _precisions}
