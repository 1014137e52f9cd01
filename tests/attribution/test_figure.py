"""The picture shows each series' mass by layer."""

import pytest

from unlearn_guard.attribution.figure import as_svg, mass_by_layer
from unlearn_guard.errors import UsageError
from unlearn_guard.records import EdgeScores

pytest.importorskip("matplotlib")


def scores(*values):
    return EdgeScores(subject="s", task="t", edges=("input->m0", "input->m1", "m0->m1"), scores=values, steps=5)


def test_bars_are_the_masses():
    figure = mass_by_layer({"base": scores(1.0, -2.0, 0.5), "candidate, nf4": scores(1.0, 0.0, 0.0)}, circuit=(1,))
    (axes,) = figure.axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[1.0, 2.5], [1.0, 0.0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["base", "candidate, nf4"]


def test_the_svg_is_the_same_every_time():
    first, second = (as_svg(mass_by_layer({"base": scores(1.0, 2.0, 3.0)})) for _ in range(2))
    assert first == second
    assert first.startswith("<svg")


def test_series_of_other_edges_are_refused():
    other = EdgeScores(subject="s", task="t", edges=("input->m0",), scores=(1.0,), steps=5)
    with pytest.raises(UsageError, match="same edges"):
        mass_by_layer({"base": scores(1.0, 2.0, 3.0), "other": other})
