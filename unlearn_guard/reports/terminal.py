"""The run on a terminal: what was decided, why, and what to do next. Fits 80 columns and needs no colour."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.records import Check, Outcome, Run
from unlearn_guard.reports import wording
from unlearn_guard.reports.scorecard import worst_first
from unlearn_guard.reports.steps import Step, steps

# Blue and orange, not green and red: told apart by everyone. The words say the same.
_STYLES = {
    Outcome.PASSED: "blue",
    Outcome.FAILED: "bold dark_orange",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.UNMEASURED: "bold yellow",
}


def render(run: Run, console: Console, directory: Path | None = None) -> None:
    """Print the run: checks (those that did not pass first), next steps, scores, stages, notes, headline.

    Limits that were never measured are one row and one step, however many. `directory` is where the run lies,
    for the last line. Text from checkpoints and suites is escaped.
    """
    todo = steps(run)
    console.print(_subject(run))
    console.print(_checks(worst_first(run.verdict.checks), todo))
    for step in todo:
        console.print(_step(step))
    console.print(_scores(run))
    if run.stages:
        console.print(_stages(run))
    for warning in run.warnings:
        console.print(Text(f"Warning: {wording.plain(warning)}", style="yellow"))
    for note in run.notes:
        console.print(Text(f"Note: {wording.plain(note)}"))
    console.print(_headline(run))
    if directory is not None:
        console.print(Text(f"Run directory: {wording.plain(str(directory))}"), soft_wrap=True)


def _subject(run: Run) -> Text:
    method = f", made by {wording.plain(run.candidate.method)}" if run.candidate.method else ""
    return Text(
        f"candidate  {wording.plain(str(run.candidate.path))}{method}\n"
        f"base       {wording.plain(str(run.base.path))}\n"
        f"suite      {wording.plain(run.suite)}     policy {wording.plain(run.policy.path)}"
    )


def _headline(run: Run) -> Text:
    decided = Outcome.PASSED if run.verdict.passed else Outcome.FAILED if run.verdict.failed else Outcome.UNMEASURED
    return Text(wording.headline(run), style=_STYLES[decided])


def _table(*columns: str, title: str, numbers: int) -> Table:
    """A table whose last `numbers` columns are right-aligned, and whose cells wrap instead of being cut."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        right = index >= len(columns) - numbers
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _checks(checks: list[Check], todo: tuple[Step, ...]) -> Table:
    table = _table("check", "value", "limit", "margin", "outcome", title="\nChecks", numbers=4)
    shown: set[str] = set()
    for check in checks:
        step = next((step for step in todo if check in step.checks), None)
        if step is not None and _folded(step):
            if step.text not in shown:
                row = (_named(step), "-", "", "-")
                table.add_row(*map(Text, row), Text(wording.outcome(check), style=_STYLES[check.outcome]))
            shown.add(step.text)
            continue
        row = (wording.short(check.id), wording.value(check), wording.bounds(check.limit), wording.margin(check))
        table.add_row(*map(Text, row), Text(wording.outcome(check), style=_STYLES[check.outcome]))
    return table


def _folded(step: Step) -> bool:
    """Whether a step's checks are one row: there is no number in any of them."""
    return step.outcome is Outcome.UNMEASURED and len(step.checks) > 1


def _named(step: Step) -> str:
    return f"{len(step.checks)} limits: {step.metrics}" if len(step.checks) > 1 else wording.short(step.checks[0].id)


def _step(step: Step) -> Text:
    reasons = "; ".join(dict.fromkeys(wording.short(check.limit.because, 300) for check in step.checks))
    names = _named(step) if _folded(step) else ", ".join(wording.short(check.id) for check in step.checks)
    # Where a limit comes from matters to whoever broke it.
    source = "" if step.outcome is Outcome.UNMEASURED else f"\n  limit from: {reasons}"
    return Text.assemble(
        ("\n" + wording.outcome(step.checks[0]), _STYLES[step.outcome]), f" {names}: {step.text}{source}"
    )


def _scores(run: Run) -> Table:
    """Each task's own score by precision, base beside candidate."""
    subjects = (run.base.digest, run.candidate.digest)
    found = {(each.task, each.metric, each.precision, each.subject): each for each in run.measurements}
    table = _table("task", "score", "precision", "base", "candidate", title="\nScores", numbers=2)
    precisions = tuple(dict.fromkeys(each.precision for each in run.measurements))
    for task in run.tasks:
        for precision in precisions:
            pair = [found.get((task.name, task.metric, precision, subject)) for subject in subjects]
            if any(pair):
                cells = [wording.number(each.value) if each else "-" for each in pair]
                labels = (f"{task.name} ({task.role})", task.metric, precision)
                table.add_row(*(Text(wording.plain(label)) for label in labels), *map(Text, cells))
    return table


def _stages(run: Run) -> Table:
    table = _table("stage", "precision", "", "seconds", title="\nStages", numbers=1)
    for stage in run.stages:
        cells = (stage.name, stage.precision, "from an earlier run" if stage.cached else "", f"{stage.seconds:.1f}")
        table.add_row(*(Text(wording.plain(cell)) for cell in cells))
    table.add_row(Text("whole run"), Text(""), Text(""), Text(f"{run.seconds:.1f}"))
    return table
