import math

import pytest

from unlearn_guard.calibrating.separating import auc, newcombe


def test_an_area_worked_out_by_hand():
    """Of the pairs (3, 1), (3, 2), (1, 1), (1, 2): right, right, a tie, wrong. 2.5 of 4."""
    assert auc([3.0, 1.0], [1.0, 2.0], higher_knows=True) == 0.625
    assert auc([3.0, 1.0], [1.0, 2.0], higher_knows=False) == 0.375


def test_the_bounds_are_where_the_literal_variance_says():
    """Newcombe's equation, with Hanley and McNeil's Q1 and Q2 as they write them."""
    for area, ones, zeros in ((0.7, 8, 5), (0.95, 20, 4), (0.5, 3, 3)):
        for bound in newcombe(area, ones, zeros):
            q1, q2 = bound / (2 - bound), 2 * bound**2 / (1 + bound)
            half = (ones + zeros) / 2 - 1
            variance = bound * (1 - bound) + half * (q1 - bound**2) + half * (q2 - bound**2)
            assert abs(area - bound) == pytest.approx(
                1.959963984540054 * math.sqrt(variance / (ones * zeros)), abs=1e-9
            )


def test_no_overlap_is_no_certainty():
    low, high = newcombe(1.0, 12, 3)
    assert high == 1.0
    assert 0.5 < low < 0.8
    assert newcombe(0.0, 12, 3) == pytest.approx((0.0, 1 - low))
    assert newcombe(1.0, 120, 30)[0] > low
