"""One picture: where the attribution lies by layer, before and after, in each precision."""

from collections.abc import Mapping
from io import StringIO
from typing import TYPE_CHECKING

from unlearn_guard.attribution.scores import layer_masses
from unlearn_guard.errors import PluginError, UsageError
from unlearn_guard.records import EdgeScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mass_by_layer(series: Mapping[str, EdgeScores], *, circuit: tuple[int, ...] = ()) -> "Figure":
    """A matplotlib figure of the sum of |score| into each layer's MLP, one bar a layer and series.

    `series` maps a legend, such as "base" or "candidate, nf4", to its scores; layers of `circuit` are
    shaded. All have to be scored on the same edges.
    """
    if not series or len({scores.edges for scores in series.values()}) != 1:
        raise UsageError("a picture needs at least one set of scores, and all of them on the same edges")
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PluginError("pictures need matplotlib", fix="pip install matplotlib") from error

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    layers: list[int] = []
    for index, (name, scores) in enumerate(series.items()):
        masses = layer_masses(scores)
        layers = [mass.layer for mass in masses]
        at = [layer - 0.4 + width * (index + 0.5) for layer in layers]
        axes.bar(at, [mass.mlp for mass in masses], width=width, label=name)
    for layer in circuit:
        axes.axvspan(layer - 0.5, layer + 0.5, color="0.9", zorder=0)
    axes.set_xticks(layers)
    axes.set_xlabel("layer" + (" (shaded: the circuit)" if circuit else ""))
    axes.set_ylabel("sum of |score| into the MLP")
    axes.legend(frameon=False)
    return figure


def as_svg(figure: "Figure") -> str:
    """The figure as an SVG element to put into a page: no date, text as paths, the same bytes every time."""
    import matplotlib as mpl

    held = StringIO()
    with mpl.rc_context({"svg.hashsalt": "unlearn-guard"}):
        figure.savefig(held, format="svg", metadata={"Date": None})
    text = held.getvalue()
    return text[text.index("<svg") :]
