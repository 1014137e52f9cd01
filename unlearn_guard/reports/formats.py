"""What quantization brings back, format by format: the worst of them in a line, and all of them as a picture.

A line a format, so that seventeen of them are a longer picture and not a denser one, which fits a telephone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn_guard.records import FULL, Measurement, Role, Run, Task
from unlearn_guard.reports import wording

WIDTH, STEP = 290, 44
"""Of a picture, and of one format's line in it, in SVG units."""

LEVEL = 0.95
"""Of the intervals that are drawn and written."""

Found = Mapping[tuple[str, str, str, str], Measurement]
Pair = tuple[Measurement | None, Measurement | None]


def worst(run: Run) -> str | None:
    """`Worst over 3 formats: forget_task nf4 0.650 [0.550, 0.740]`: the largest gap; None where none was measured."""
    gaps = [each for each in run.measurements if each.metric == "ptq_gap" and each.subject == run.candidate.digest]
    if not gaps:
        return None
    most, formats = max(gaps, key=lambda gap: gap.value), len({gap.precision for gap in gaps})
    limits = [check.limit for check in run.verdict.checks if check.id == most.name]
    bounds = [bound for limit in limits for bound in (limit.at_least, limit.at_most)]
    interval = most.interval(LEVEL)
    ends = [] if interval is None else [wording.number(end, *bounds) for end in (interval.low, interval.high)]
    between = f" [{', '.join(ends)}]" if ends else ""
    where = f"{wording.short(most.task)} {wording.short(most.precision)}"
    over = f"{formats} format{'s' if formats > 1 else ''}"
    by = (each for each in run.calibrations if (each.task, each.precision) == (most.task, most.precision))
    choice = next((f", calibrated on {each.worst}, the worst of {len(each.scores)}" for each in by), "")
    return f"Worst over {over}: {where} {wording.number(most.value, *bounds)}{between}{wording.short(choice)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A score and the ends of its interval in SVG units; the ends meet it where there is no interval."""

    x: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One format: base's and the candidate's score, None where not asked, and both in words."""

    y: int
    name: str
    text: str
    base: Spot | None
    candidate: Spot | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByFormat:
    """One forget task's picture; `without` is what is scored without knowing, its place and its words."""

    title: str
    summary: str
    height: int
    lines: tuple[Line, ...]
    rows: tuple[tuple[str, str, str], ...]
    without: tuple[float, str]


def by_format(run: Run) -> tuple[ByFormat, ...]:
    """A picture for each forget task that was asked, its formats in the order measured."""
    found = {(each.task, each.metric, each.precision, each.subject): each for each in run.measurements}
    made = (_of(run, task, found) for task in run.tasks if task.role is Role.FORGET)
    return tuple(picture for picture in made if picture.lines)


def _of(run: Run, task: Task, found: Found) -> ByFormat:
    precisions = dict.fromkeys([FULL, *(each.precision for each in run.measurements)])
    pairs = {precision: _pair(run, task, precision, found) for precision in precisions}
    asked = {precision: pair for precision, pair in pairs.items() if pair != (None, None)}
    lines = tuple(_line(index, *each) for index, each in enumerate(asked.items()))
    said, without = ("chance", task.chance) if task.floor is None else ("floor", task.floor)
    return ByFormat(
        title=wording.short(f"{task.name}, {task.metric}"),
        summary="; ".join(f"{line.name}: {line.text}" for line in lines),
        height=STEP * len(lines),
        lines=lines,
        rows=tuple((wording.short(name, 24), _cell(one), _cell(other)) for name, (one, other) in asked.items()),
        without=(_place(without), f"{said} {without:.2f}"),
    )


def _pair(run: Run, task: Task, precision: str, found: Found) -> Pair:
    base, candidate = (
        found.get((task.name, task.metric, precision, side.digest)) for side in (run.base, run.candidate)
    )
    return base, candidate


def _line(index: int, precision: str, pair: Pair) -> Line:
    base, candidate = pair
    said = [f"{base.value:.2f}"] if base is not None else []
    said += [f"{candidate.value:.2f}{_interval(candidate, '.2f')}"] if candidate is not None else ["-"]
    spots = [None if each is None else _spot(each) for each in pair]
    return Line(
        y=STEP * index, name=wording.short(precision, 24), text=" to ".join(said), base=spots[0], candidate=spots[1]
    )


def _spot(measured: Measurement) -> Spot:
    interval, x = measured.interval(LEVEL), _place(measured.value)
    if interval is None:
        return Spot(x=x, low=x, high=x)
    return Spot(x=x, low=_place(interval.low), high=_place(interval.high))


def _place(share: float) -> float:
    return round(WIDTH * min(1.0, max(0.0, share)), 1)


def _interval(measured: Measurement, form: str) -> str:
    interval = measured.interval(LEVEL)
    return "" if interval is None else f" [{interval.low:{form}}, {interval.high:{form}}]"


def _cell(measured: Measurement | None) -> str:
    return "-" if measured is None else f"{measured.value:.4g}{_interval(measured, '.4g')}"
