"""The four properties of every row as three pictures: how much was forgotten against what it cost.

Source: arXiv 2605.15138, Figure 3. A filled point held every limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_guard.records import FULL, Check
from unlearn_guard.reports import wording
from unlearn_guard.reports.axis import ticks
from unlearn_guard.reports.standing import Row

WIDTH, HEIGHT = 280, 200

PANELS = (
    ("gap", "ptq_gap", "What quantization brings back"),
    ("retain_loss", "retain_drop", "Retain accuracy lost"),
    ("as_nc", "as_nc", "Shift outside the circuit (AS-NC)"),
)
"""Each panel's number, the metric whose limit is drawn, and its title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A row in a panel: `row` is its place in the table, `solid` that every limit held."""

    x: float
    y: float
    row: int
    solid: bool
    label: str
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. Ticks are (position, text); the lines are limits that every row shares, or None."""

    title: str
    points: tuple[Point, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    line_x: float | None
    line_y: float | None
    missing: int


def panels(rows: Sequence[Row]) -> tuple[Panel, ...]:
    """The panels; a row that lacks one of a panel's two numbers is counted in `missing`, never drawn at zero."""
    return tuple(_panel(rows, *each) for each in PANELS)


def _panel(rows: Sequence[Row], key: str, metric: str, title: str) -> Panel:
    found = [(place, row, _mean(row, "forget_drop"), _mean(row, key)) for place, row in enumerate(rows)]
    there = [(place, row, x, y) for place, row, x, y in found if x is not None and y is not None]
    least, most = _bound(rows, "forget_drop", "at_least"), _bound(rows, metric, "at_most")
    low_x, high_x = _range([0.0, 1.0, *(x for _, _, x, _ in there)])
    low_y, high_y = _range([0.0, 0.1, *(y for _, _, _, y in there), *([] if most is None else [most * 1.2])])

    def at_x(value: float) -> float:
        return round(WIDTH * (value - low_x) / (high_x - low_x), 1)

    def at_y(value: float) -> float:
        return round(HEIGHT * (1 - (value - low_y) / (high_y - low_y)), 1)

    return Panel(
        title=title,
        points=tuple(
            Point(x=at_x(x), y=at_y(y), row=place, solid=row.passed, label=str(row.rank), tip=_tip(row, x, y))
            for place, row, x, y in there
        ),
        across=tuple((at_x(value), f"{value:.4g}") for value in ticks(low_x, high_x)),
        up=tuple((at_y(value), f"{value:.4g}") for value in ticks(low_y, high_y)),
        line_x=None if least is None else at_x(least),
        line_y=None if most is None else at_y(most),
        missing=len(found) - len(there),
    )


def _mean(row: Row, key: str) -> float | None:
    found = row.numbers[key]
    return None if found is None else found.mean


def _tip(row: Row, x: float, y: float) -> str:
    held = "every limit held" if row.passed else "not every limit held"
    return f"{wording.short(row.first.method, 40)}, rank {row.rank}: {x:.3g}, {y:.3g}; {held}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low)
    return low - room, high + room


def _bound(rows: Sequence[Row], metric: str, side: str) -> float | None:
    """The bound that all limits on this metric in full precision, or wherever it exists, have in common."""
    checks: list[Check] = [check for row in rows for check in row.first.run.verdict.checks]
    limits = [check.limit for check in checks if check.limit.metric == metric]
    dense = [limit for limit in limits if limit.precision == FULL] or limits
    bounds = {getattr(limit, side) for limit in dense}
    return bounds.pop() if len(bounds) == 1 else None
