"""The run on a terminal: what was decided, why, and what to do next. Fits 80 columns and needs no colour."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.records import Check, Outcome, Run
from unlearn_guard.reports import wording

_ORDER = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.UNMEASURED, Outcome.PASSED)
# Blue and orange, not green and red: told apart by everyone. The words say the same.
_STYLES = {
    Outcome.PASSED: "blue",
    Outcome.FAILED: "bold dark_orange",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.UNMEASURED: "bold yellow",
}


def render(run: Run, console: Console, directory: Path | None = None) -> None:
    """Print the run: headline, scores, checks (those that did not pass first), next steps, stages, notes.

    `directory` is where the run lies, for the last line. Text from checkpoints and suites is escaped.
    """
    ordered = sorted(run.verdict.checks, key=lambda check: _ORDER.index(check.outcome))
    console.print(_subject(run))
    console.print(_scores(run))
    console.print(_checks(ordered))
    for checks in _by_step(ordered):
        console.print(_step(checks))
    if run.stages:
        console.print(_stages(run))
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


def _checks(checks: list[Check]) -> Table:
    table = _table("check", "value", "limit", "margin", "outcome", title="\nChecks", numbers=4)
    for check in checks:
        table.add_row(
            Text(wording.plain(check.id)),
            Text(wording.value(check)),
            Text(wording.bounds(check.limit)),
            Text(wording.margin(check)),
            Text(wording.outcome(check), style=_STYLES[check.outcome]),
        )
    return table


def _by_step(checks: list[Check]) -> list[list[Check]]:
    """The checks that did not pass, those with the same next step together, in the order of the first of each."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        if check.outcome is not Outcome.PASSED:
            groups.setdefault((wording.outcome(check), wording.next_step(check)), []).append(check)
    return list(groups.values())


def _step(checks: list[Check]) -> Text:
    names = ", ".join(wording.plain(check.id) for check in checks)
    reasons = "; ".join(dict.fromkeys(wording.plain(check.limit.because) for check in checks))
    return Text.assemble(
        ("\n" + wording.outcome(checks[0]), _STYLES[checks[0].outcome]),
        f" {names}: {wording.next_step(checks[0])}\n  limit from: {reasons}",
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
