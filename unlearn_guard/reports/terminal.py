"""The run on a terminal: what was decided, why, and what to do next. Fits 80 columns and needs no colour."""

from pathlib import Path

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unlearn_guard.records import Check, Outcome, Run
from unlearn_guard.reports import formats, other_policy, positive_control, wording
from unlearn_guard.reports.scorecard import scorecard, sentence, worst_first
from unlearn_guard.reports.steps import Step, steps

# Blue and orange, not green and red: told apart by everyone. The words say the same. These four stand out by at
# least 3 : 1 on black and on white; the terminal's own "blue" and "yellow" do so on one of the two only.
_STYLES = {
    Outcome.PASSED: "#3388dd",
    Outcome.FAILED: "bold #cc6600",
    Outcome.INCONCLUSIVE: "bold #a07800",
    Outcome.UNMEASURED: "bold #a07800",
}
REPORT = "report.html"


def render(
    run: Run, console: Console, directory: Path | None = None, *, verbose: bool = False, measured: bool = True
) -> None:
    """Print the run: a sentence, the four properties, what did not hold with its next step, a count of what did.

    `verbose`: also every limit in a table, scores, and, where this command `measured`, the time of each stage. Limits
    that were never measured are one row and one step, however many. `directory` is where the run lies, for the last
    lines. Text from checkpoints and suites is escaped.
    """
    todo = steps(run)
    console.print(_subject(run))
    console.print(Text(f"\n{sentence(run)}", style=_STYLES[_decided(run)]))
    console.print()
    console.print(_properties(run))
    if verbose:
        console.print(_checks(worst_first(run.verdict.checks), todo))
    for step in todo:
        console.print(_step(step))
    if verbose:
        console.print(_scores(run))
        if run.stages and measured:
            console.print(_stages(run))
    console.print()
    for warning in run.warnings:
        console.print(Text(f"Warning: {wording.plain(warning)}", style="#a07800"))
    for note in run.notes:
        console.print(Text(f"Note: {wording.plain(note)}"))
    if (control := positive_control.line(run)) is not None:
        console.print(Text(control))
    if (worst := formats.worst(run)) is not None:
        console.print(Text(worst))
    console.print(_headline(run))
    console.print(Text(other_policy.line(run)))
    if directory is not None:
        console.print(Text(f"Report: {wording.plain(str(directory / REPORT))}"), soft_wrap=True)
        console.print(Text(f"Run directory: {wording.plain(str(directory))}"), soft_wrap=True)


def _properties(run: Run) -> Table:
    """`permanence  FAILED  2 of 9 limits held  Does that last ...?`: a line for each property."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    for score in scorecard(run):
        table.add_row(
            Text(str(score.guards)),
            Text(wording.word(score.outcome), style=_STYLES[score.outcome]),
            Text(f"{score.held} of {len(score.checks)} limits held"),
        )
    return table


def _subject(run: Run) -> Text:
    method = f", made by {wording.plain(run.candidate.method)}" if run.candidate.method else ""
    return Text(
        f"candidate  {wording.plain(str(run.candidate.path))}{method}\n"
        f"base       {wording.plain(str(run.base.path))}\n"
        f"suite      {wording.plain(run.suite)}     policy {wording.plain(run.policy.path)}"
    )


def _decided(run: Run) -> Outcome:
    return Outcome.PASSED if run.verdict.passed else Outcome.FAILED if run.verdict.failed else Outcome.UNMEASURED


def _headline(run: Run) -> Text:
    return Text(wording.headline(run), style=_STYLES[_decided(run)])


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


def _step(step: Step) -> Group:
    """The outcome, each limit it is about with its value, what to do, and where the limit comes from."""
    heads = [_named(step)] if _folded(step) else [_valued(check) for check in step.checks]
    first, *others = heads
    outcome = Text.assemble((f"\n{wording.outcome(step.checks[0])}", _STYLES[step.outcome]), f" {first}")
    said = [*others, step.text]
    # Where a limit comes from matters to whoever broke it.
    if step.outcome is not Outcome.UNMEASURED:
        reasons = "; ".join(dict.fromkeys(wording.short(check.limit.because, 300) for check in step.checks))
        said.append(f"limit from: {reasons}")
    return Group(outcome, Padding(Text("\n".join(said)), (0, 0, 0, 2)))


def _valued(check: Check) -> str:
    """`ptq_gap[...]`, and below it `0.650, asked for <= 0.0` where there is a number, and what is in doubt."""
    name = wording.short(check.id)
    if check.measurement is None:
        return name
    lines = [name, f"{wording.value(check)}, asked for {wording.bounds(check.limit)}", wording.in_doubt(check)]
    return "\n  ".join(line for line in lines if line)


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
