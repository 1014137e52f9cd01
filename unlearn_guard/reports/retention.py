"""What was kept, as pictures: for each retain task base's score and the candidate's, on one line.

A line a task, so that a suite of fifty tasks is a longer picture and not a denser one; the names stand above the
lines, so that it fits a telephone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unlearn_guard.records import Measurement, Role, Run, Task
from unlearn_guard.reports import wording

WIDTH, STEP = 290, 44
"""Of a picture, and of one task's line in it, in SVG units."""

DRAWN = 30
"""Tasks drawn, those that lost most first; the table beside the picture has every one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One task: where base's and the candidate's score lie, None where not measured, and both in words."""

    y: int
    base: float | None
    candidate: float | None
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One precision's picture. `rows` are (task, base, candidate, lost) of every task, `hidden` how many are not drawn.

    `lost` is base's score less the candidate's, both at this precision, as `retain_drop` has it.
    """

    title: str
    summary: str
    height: int
    lines: tuple[Line, ...]
    rows: tuple[tuple[str, str, str, str], ...]
    hidden: int


def kept(run: Run) -> tuple[Kept, ...]:
    """A picture for each precision that any retain task was asked at, in the order measured."""
    found = {(each.task, each.metric, each.precision, each.subject): each for each in run.measurements}
    tasks = [task for task in run.tasks if task.role is Role.RETAIN]
    made = (
        _at(run, tasks, precision, found) for precision in dict.fromkeys(each.precision for each in run.measurements)
    )
    return tuple(each for each in made if each is not None)


Found = Mapping[tuple[str, str, str, str], Measurement]
Pair = tuple[float | None, float | None]


def _at(run: Run, tasks: Iterable[Task], precision: str, found: Found) -> Kept | None:
    pairs = {task: _pair(run, task, precision, found) for task in tasks}
    there = {task: pair for task, pair in pairs.items() if pair != (None, None)}
    if not there:
        return None
    worst = sorted(there, key=lambda task: -(_lost(there[task]) or 0.0))[:DRAWN]
    drawn = [task for task in there if task in worst]
    title = f"Score at {wording.short(precision, 24)}"
    return Kept(
        title=title,
        summary="; ".join(f"{wording.short(task.name)}: {_text(there[task])}" for task in drawn),
        height=STEP * len(drawn),
        lines=tuple(_line(index, task, there[task]) for index, task in enumerate(drawn)),
        rows=tuple(_row(task, pair) for task, pair in there.items()),
        hidden=len(there) - len(drawn),
    )


def _pair(run: Run, task: Task, precision: str, found: Found) -> Pair:
    both = [found.get((task.name, task.metric, precision, side.digest)) for side in (run.base, run.candidate)]
    base, candidate = (None if each is None else each.value for each in both)
    return base, candidate


def _lost(pair: Pair) -> float | None:
    base, candidate = pair
    return None if base is None or candidate is None else base - candidate


def _line(index: int, task: Task, pair: Pair) -> Line:
    base, candidate = (None if each is None else round(WIDTH * min(1.0, max(0.0, each)), 1) for each in pair)
    # As many letters as leave room for the two scores.
    name = wording.short(f"{task.name}, {task.metric}", 28)
    return Line(y=STEP * index, base=base, candidate=candidate, name=name, text=_text(pair))


def _text(pair: Pair) -> str:
    """`0.81 to 0.73`."""
    return " to ".join("-" if each is None else f"{each:.2f}" for each in pair)


def _row(task: Task, pair: Pair) -> tuple[str, str, str, str]:
    base, candidate, lost = ("-" if each is None else f"{each:.4g}" for each in (*pair, _lost(pair)))
    return wording.short(f"{task.name}, {task.metric}"), base, candidate, lost
