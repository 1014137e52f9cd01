"""Pictures as numbers: where each bar of a chart lies. The templates draw them as SVG.

No plotting library: the pictures are bars and cells, they have to follow the page's light and dark colours,
which a rendered figure cannot, and `report` has to stay a matter of milliseconds.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn_guard.records import FULL, RATIO_OCTAVES, LayerDrift
from unlearn_guard.reports import wording
from unlearn_guard.reports.axis import ticks
from unlearn_guard.reports.evidence import Masses

HEIGHT = 150
"""Of the area that holds the bars, in SVG units."""

SPAN = 400
"""Width that a chart may take before its bars get thinner, in SVG units; a page's column on a laptop."""

_WIDEST, _THINNEST, _LABELLED = 28.0, 4.0, 24.0
_LETTER = 7.0
"""Width that a label's letter takes at most, at 12 px."""

_GUTTER = 40.0
"""Left of the bars, for the numbers of the axis."""

_MOST = 60
_BLOCK = re.compile(r"^(?P<front>.*?)\.(?P<block>\d+)\.(?P<kind>.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: `series` is its colour's number, `text` what stands above it, `tip` what it says in words."""

    x: float
    y: float
    width: float
    height: float
    series: int
    text: str
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A bar chart. `rows` are the same numbers as a table.

    `ticks` are the numbers of the upright axis with their heights, `across` says what the groups are.
    """

    title: str
    summary: str
    width: float
    bars: tuple[Bar, ...]
    labels: tuple[tuple[float, str], ...]
    series: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ticks: tuple[tuple[float, str], ...]
    across: str


def bars(
    title: str, groups: Sequence[str], series: Mapping[str, Sequence[float | None]], *,
    span: float = SPAN, across: str = "",
) -> Chart:  # fmt: skip
    """Groups of bars side by side, one of each series; None leaves a gap. The largest value has the full height."""
    top = max((value for values in series.values() for value in values if value is not None), default=0) or 1.0
    room = span / max(1, len(groups))
    gap = min(18.0, room / 3)
    bar = min(_WIDEST, max(_THINNEST, (room - gap) / len(series)))
    step = bar * len(series) + gap
    left = _GUTTER + 4
    width = left + step * len(groups) + 10
    drawn = []
    for place, (name, values) in enumerate(series.items()):
        for index, (group, value) in enumerate(zip(groups, values, strict=True)):
            if value is not None:
                height = HEIGHT * min(1.0, value / top)
                drawn.append(
                    Bar(
                        x=round(left + index * step + place * bar + step / 2 - bar * len(series) / 2, 1),
                        y=round(HEIGHT - height, 1), width=round(bar - 2, 1), height=round(height, 1), series=place,
                        text=f"{value:.2f}" if bar > _LABELLED else "", tip=f"{group}, {name}: {value:.4g}",
                    )
                )  # fmt: skip
    every = math.ceil((max(map(len, groups), default=0) * _LETTER + 6) / step)
    labels = [(round(left + (i + 0.5) * step, 1), group) for i, group in enumerate(groups) if i % every == 0]
    rows = [("", *series), *(_row(group, [values[i] for values in series.values()]) for i, group in enumerate(groups))]
    return Chart(
        title=title,
        summary="; ".join(each.tip for each in drawn[:_MOST]) + ("; ..." if len(drawn) > _MOST else ""),
        width=round(width, 1),
        bars=tuple(drawn),
        labels=tuple(labels),
        series=tuple(series),
        rows=tuple(rows),
        ticks=tuple((round(HEIGHT * (1 - each / top), 1), f"{each:.4g}") for each in ticks(0.0, top)),
        across=across,
    )


def _row(group: str, values: Sequence[float | None]) -> tuple[str, ...]:
    return (group, *("-" if value is None else f"{value:.4g}" for value in values))


def masses(found: Sequence[Masses]) -> tuple[Chart, ...]:
    """Attribution by layer, before and after: one chart a task."""
    charts = []
    for task in dict.fromkeys(each.task for each in found):
        series = {_legend(each): dict(each.by_layer) for each in found if each.task == task}
        layers = sorted({layer for values in series.values() for layer in values})
        shown = {name: [values.get(layer) for layer in layers] for name, values in series.items()}
        charts.append(bars(wording.short(task), [str(layer) for layer in layers], shown, across="layer"))
    return tuple(charts)


def _legend(each: Masses) -> str:
    precision = "full precision" if each.precision == FULL else wording.short(each.precision, 24)
    return f"{each.side}, {precision}"


def updates(drift: Sequence[LayerDrift]) -> Chart | None:
    """Changed weights by |update| over the width of their NF4 bin, a bar for each power of two."""
    changed = sum(each.changed for each in drift)
    if not changed:
        return None
    low, high = RATIO_OCTAVES
    shares = [sum(each.ratios[k] for each in drift) / changed for k in range(high - low + 1)]
    names = [_power(k) for k in range(low, high + 1)]
    return bars(
        "Changed weights by size of update, as a share of all changed", names, {"share of changed weights": shares},
        span=900, across="|update| in widths of the weight's NF4 bin",
    )  # fmt: skip


def _power(exponent: int) -> str:
    return f"1/{2**-exponent}" if exponent < 0 else str(2**exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Code flips as cells: one row a kind of layer, one column a block. `cells` are (share, depth 0 to 8, tip)."""

    summary: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, int, str] | None, ...]], ...]


def flips_by_layer(drift: Sequence[LayerDrift]) -> Heat | None:
    """The share of each layer's NF4 codes that differ from base's; depth 8 is the largest share of the run."""
    if not drift:
        return None
    matches = [_BLOCK.match(each.layer) for each in drift]
    several = len({match["front"] for match in matches if match}) > 1
    places = {_place(each.layer, match, several): each for each, match in zip(drift, matches, strict=True)}
    columns = tuple(dict.fromkeys(block for block, _ in places))
    kinds = tuple(dict.fromkeys(kind for _, kind in places))
    most = max(each.flipped / each.weights for each in drift)
    total = sum(each.flipped for each in drift) / sum(each.weights for each in drift)
    return Heat(
        summary=f"{total:.2%} of all codes differ from base's; at most {most:.2%} in one layer.".replace("%", " %"),
        columns=columns,
        rows=tuple(
            (wording.short(kind, 40), tuple(_cell(places.get((block, kind)), most) for block in columns))
            for kind in kinds
        ),
    )


def _place(layer: str, match: re.Match[str] | None, several: bool) -> tuple[str, str]:
    """Block and kind; a layer outside of any block has a row of its own, and stacks of blocks keep theirs apart."""
    if match is None:
        return "", layer
    return match["block"], f"{match['front']}: {match['kind']}" if several else match["kind"]


def _cell(layer: LayerDrift | None, most: float) -> tuple[str, int, str] | None:
    if layer is None:
        return None
    share = layer.flipped / layer.weights
    depth = math.ceil(8 * share / most) if most else 0
    return f"{share:.1%}".removesuffix("%"), depth, f"{wording.short(layer.layer)}: {layer.flipped} of {layer.weights}"
