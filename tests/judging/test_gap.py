"""The smallest gap that so many items can tell, from McNemar's test and the interval that limits are held against."""

import math

import pytest

from unlearn_guard.judging.gap import DISCORDANCE, smallest_gap


def by_hand(net: int, changed: int) -> float:
    """McNemar's exact p, by summing binomial coefficients."""
    lost = (changed - net) // 2
    return min(1.0, 2 * sum(math.comb(changed, k) for k in range(lost + 1)) / 2**changed)


def test_five_items_tell_nothing_and_six_only_if_all_change():
    """Two-sided p of five of five is 2/32, of six of six 2/64."""
    assert smallest_gap(5, discordance=0.0) is None
    assert smallest_gap(6, discordance=0.0) == 1.0


def test_three_hundred_items_tell_a_gap_of_three_points_at_best():
    """Nine items, none the other way: McNemar alone would take six, the interval is widened by what was not seen."""
    assert smallest_gap(300, discordance=0.0) == 9 / 300


@pytest.mark.parametrize("items", [170, 300, 1500])
def test_where_items_change_both_ways_mcnemar_s_test_says_the_same(items):
    gap = smallest_gap(items, discordance=DISCORDANCE)
    net = round(gap * items)
    changed = max(net, math.ceil(DISCORDANCE * items))
    assert by_hand(net, changed + (changed - net) % 2) < 0.05
    below = net - 2
    assert below <= 0 or by_hand(below, changed + (changed - below) % 2) >= 0.04


def test_fifteen_hundred_items_decide_two_points_on_a_real_model():
    assert smallest_gap(1500, discordance=DISCORDANCE) == pytest.approx(0.02, abs=0.001)


def test_more_items_tell_a_smaller_gap():
    gaps = [smallest_gap(items, discordance=share) for share in (0.0, DISCORDANCE) for items in (20, 100, 500, 2000)]
    assert gaps[:4] == sorted(gaps[:4], reverse=True)
    assert gaps[4:] == sorted(gaps[4:], reverse=True)
    assert gaps[3] < gaps[7]
