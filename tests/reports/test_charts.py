from itertools import pairwise

import pytest

from tests.oracles.made_evidence import VERDICTS, made_drift, made_evidence
from unlearn_guard.records import LayerDrift
from unlearn_guard.reports import charts


def test_a_bar_is_as_high_as_its_value():
    chart = charts.bars("t", ["a", "b"], {"one": [0.5, 1.0], "two": [None, 0.25]})
    heights = {bar.tip: bar.height for bar in chart.bars}
    assert heights == {"a, one: 0.5": 75, "b, one: 1": 150, "b, two: 0.25": 37.5}
    assert all(bar.y + bar.height == pytest.approx(charts.HEIGHT) for bar in chart.bars)
    assert chart.rows == (("", "one", "two"), ("a", "0.5", "-"), ("b", "1", "0.25"))


@pytest.mark.parametrize("groups", [1, 4, 17, 32, 126])
def test_bars_lie_side_by_side_inside_of_the_picture(groups):
    chart = charts.bars("t", [str(g) for g in range(groups)], {name: [1.0] * groups for name in "abc"})
    ends = sorted((bar.x, bar.x + bar.width) for bar in chart.bars)
    assert all(left[1] <= right[0] + 0.11 for left, right in pairwise(ends))
    assert ends[0][0] >= 0
    assert ends[-1][1] <= chart.width


def test_updates_are_shares_of_the_changed_weights():
    chart = charts.updates(made_drift())
    assert [bar.tip for bar in chart.bars if bar.height] == [
        "1/16, share of changed weights: 0.1",
        "1/8, share of changed weights: 0.2",
        "1/4, share of changed weights: 0.3",
        "1/2, share of changed weights: 0.4",
    ]
    assert charts.updates(()) is None


def test_code_flips_are_a_cell_a_layer():
    heat = charts.flips_by_layer(made_drift())
    assert heat.columns == ("0", "1", "2", "3")
    assert [name for name, _ in heat.rows] == ["mlp.up_proj", "mlp.down_proj"]
    assert [cell[:2] for cell in heat.rows[0][1]] == [("0.0", 0), ("1.0", 3), ("2.0", 6), ("3.0", 8)]
    assert heat.summary.startswith("1.50 % of all codes")


def test_no_layer_is_lost_whatever_its_name():
    names = ("h.0.fc", "encoder.0.fc", "decoder.0.fc", "head", "decoder.1.fc")
    drift = tuple(
        LayerDrift(layer=name, weights=10, changed=0, flipped=0, survived=0, ratios=(0,) * 17) for name in names
    )
    heat = charts.flips_by_layer(drift)
    assert sum(cell is not None for _, cells in heat.rows for cell in cells) == len(names)


def test_attribution_is_one_chart_a_task():
    (chart,) = charts.masses(made_evidence(VERDICTS["passed"]()).masses)
    assert chart.series == ("base, full precision", "candidate, full precision", "candidate, nf4")
    assert chart.rows[1:] == (("0", "2", "2", "2"), ("1", "0.5", "1.5", "2.5"))


def test_the_largest_value_fills_it():
    chart = charts.bars("t", ["a", "b"], {"one": [4.0, 1.0]})
    assert [bar.height for bar in chart.bars] == [charts.HEIGHT, charts.HEIGHT / 4]
    assert [bar.height for bar in charts.bars("t", ["a"], {"one": [0.0]}).bars] == [0]
