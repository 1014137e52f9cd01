"""What a probe found, on a terminal: a sentence, a line a task, and what it rests on."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.records import Agreement, Outcome, Role, Served
from unlearn_guard.reports.wording import plain

_WORDS = {
    Outcome.PASSED: "agrees",
    Outcome.FAILED: "DIFFERS",
    Outcome.INCONCLUSIVE: "not established",
    Outcome.UNMEASURED: "not compared",
}


def render(found: Served, console: Console, file: Path) -> None:
    """Print all of it. What a server or a suite wrote is shown without what could steer a terminal."""
    console.print(Text(sentence(found)))
    console.print(Text(verdict(found)))
    console.print()
    console.print(_table(found))
    console.print()
    for name, why in found.left_out.items():
        console.print(Text(f"Not asked: {plain(name)}: {plain(why)}"))
    ways = ", ".join(f"{way} {count}" for way, count in found.ways.items())
    console.print(Text(f"Asked by: {ways}"))
    console.print(Text(f"Noise: {found.noise:.3f} nats ({plain(found.noise_from)})"))
    for hint in found.hints:
        console.print(Text(f"Hint: {plain(hint)}"))
    console.print(Text(f"Written: {plain(str(file))}"), soft_wrap=True)


def sentence(found: Served) -> str:
    """The outcome in words."""
    where = f"{plain(found.url)} ({plain(found.model)})"
    forget = found.forget
    compared = sum(each.compared for each in found.tasks)
    differ = sum(each.differ for each in found.tasks)
    counts = f"{differ} of {compared} items answered otherwise"
    if found.outcome is Outcome.FAILED:
        return f"NOT what was judged: {where} differs from the candidate at {found.precision} beyond noise; {counts}."
    if found.outcome is Outcome.PASSED:
        return f"Served as judged: {where} answers as the candidate at {found.precision} did; {counts}."
    why = (
        "no forget item was asked"
        if forget is None
        else "too few forget items were compared to tell a difference from noise"
        if not forget.compared or found.power < _ENOUGH
        else "items that could not be compared might all differ"
        if any(each.outcome is not Outcome.PASSED for each in (*found.tasks, forget))
        else "the server reads other prompts than were judged"
    )
    return f"Not established: whether {where} serves the candidate at {found.precision}: {why}; {counts}."


_ENOUGH = 0.95


def verdict(found: Served) -> str:
    """What the run says of the model that was judged."""
    if found.verdict == "passed":
        return "The run's verdict: passed."
    return f"The run's verdict: {found.verdict.upper()}. Whatever is served, this run lets nothing be released."


def rows(found: Served) -> tuple[Agreement, ...]:
    """Each task, then the forget tasks together where there is more than one."""
    several = sum(each.role is Role.FORGET for each in found.tasks) > 1
    return (*found.tasks, *([found.forget] if found.forget is not None and several else []))


def _table(found: Served) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("task")
    for name in ("asked", "compared", "agree", "differ", "expected", "p"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in rows(found):
        numbers = (each.asked, each.compared, each.compared - each.differ, each.differ)
        table.add_row(
            Text(plain(each.name)),
            *map(str, numbers),
            f"{each.expected:.1f}",
            f"{each.chance:.2g}" if each.compared else "",
            _WORDS[each.outcome],
        )
    return table
