import math
import statistics as stdlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.oracles import resampling_by_hand
from unlearn_guard.judging import statistics
from unlearn_guard.records import CONFIDENCE_LEVELS


def difference(means):
    return means[..., 1] - means[..., 0]


def relative(means):
    return np.where(means[..., 0] > 0, 1 - means[..., 1] / np.where(means[..., 0] > 0, means[..., 0], 1), np.nan)


def pairs(both, lost, won, neither):
    return np.array([(1, 1)] * both + [(1, 0)] * lost + [(0, 1)] * won + [(0, 0)] * neither, dtype=float)


def at(found, confidence):
    return next(each for each in found if each.confidence == confidence)


def test_stderr_of_a_paired_difference_is_sd_over_root_n():
    answers = pairs(3, 4, 2, 1)
    changes = (answers[:, 1] - answers[:, 0]).tolist()
    assert statistics.stderr(answers, difference) == pytest.approx(stdlib.stdev(changes) / math.sqrt(10))


def test_stderr_of_a_ratio_is_the_jackknife():
    rows = [(1.0, 1.0), (1.0, 0.0), (0.5, 0.25), (1.0, 0.0), (0.75, 0.5)]
    expected = resampling_by_hand.left_out(rows, lambda m: 1 - m[1] / m[0])
    assert statistics.stderr(np.array(rows), relative) == pytest.approx(expected)


def test_one_item_has_no_stderr():
    assert statistics.stderr(np.array([[1.0]]), lambda means: means[..., 0]) is None


@pytest.mark.parametrize("confidence", CONFIDENCE_LEVELS)
def test_interval_agrees_with_drawing_items_one_by_one(confidence):
    answers = pairs(60, 25, 10, 25)
    found = at(statistics.intervals(answers, difference, seed=3, name="x"), confidence)
    rows = [tuple(row) for row in answers.tolist()]
    low, high = resampling_by_hand.intervals(rows, lambda m: m[1] - m[0], confidence=confidence, resamples=3000, seed=1)
    assert found.low == pytest.approx(low, abs=0.025)
    assert found.high == pytest.approx(high, abs=0.025)


def test_interval_agrees_with_drawing_items_for_fractions():
    generator = np.random.default_rng(5)
    answers = generator.random((40, 2))
    found = at(statistics.intervals(answers, relative, seed=3, name="x"), 0.95)
    rows = [tuple(row) for row in answers.tolist()]
    low, high = resampling_by_hand.intervals(rows, lambda m: 1 - m[1] / m[0], confidence=0.95, resamples=3000, seed=1)
    assert found.low == pytest.approx(low, abs=0.05)
    assert found.high == pytest.approx(high, abs=0.05)


def test_levels_are_nested_and_hold_the_point():
    answers = pairs(100, 30, 10, 60)
    found = statistics.intervals(answers, difference, seed=0, name="x")
    assert [each.confidence for each in found] == list(CONFIDENCE_LEVELS)
    for narrow, wide in pairwise(found):
        assert wide.low <= narrow.low <= -0.1 <= narrow.high <= wide.high


def test_pairing_makes_the_interval_narrow():
    """300 items of which 4 change: unpaired, the interval would be ten times as wide."""
    found = at(statistics.intervals(pairs(148, 2, 2, 148), difference, seed=0, name="x"), 0.95)
    assert found.high - found.low < 0.03


def test_no_item_changed_is_not_certainty():
    """0 of 300 changed: at 95 % up to 1.22 % may, in either direction (1 - 0.025^(1/300))."""
    found = at(statistics.intervals(pairs(150, 0, 0, 150), difference, seed=0, name="x"), 0.95)
    assert (found.low, found.high) == pytest.approx((-0.012221, 0.012221), abs=1e-6)
    assert (1 - found.high) ** 300 == pytest.approx(0.025)


def test_a_direction_that_no_item_showed_is_widened():
    """Three lost, none won: the plain percentile bound would be 0 or below, and claim that none ever is."""
    found = at(statistics.intervals(pairs(147, 3, 0, 150), difference, seed=0, name="x"), 0.95)
    assert found.high == pytest.approx(0.012221, abs=0.0034)
    assert found.high > 0
    assert found.low < -0.01


def test_all_wrong_may_still_know_a_little():
    found = at(statistics.intervals(np.zeros((100, 1)), lambda means: means[..., 0], seed=0, name="x"), 0.95)
    assert found.low == 0.0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 100))
    right = at(statistics.intervals(np.ones((100, 1)), lambda means: means[..., 0], seed=0, name="x"), 0.95)
    assert (right.low, right.high) == (pytest.approx(0.025 ** (1 / 100)), 1.0)


def test_equal_fractions_are_no_certainty_either():
    found = at(statistics.intervals(np.full((100, 1), 0.3), lambda means: means[..., 0], seed=0, name="x"), 0.95)
    assert found.low == pytest.approx(0.3 - 0.036, abs=1e-3)
    assert found.high == pytest.approx(0.3 + 0.036, abs=1e-3)


def test_undefined_resamples_lie_outside_of_every_interval():
    """Base right once in three: 30 % of the resamples have no ratio, so there is no honest bound."""
    answers = np.array([(1.0, 0.0), (0.0, 0.0), (0.0, 0.0)])
    assert statistics.intervals(answers, relative, seed=0, name="x") == ()


def test_an_interval_depends_on_its_name_and_seed_alone():
    answers = pairs(40, 10, 5, 45)
    first = statistics.intervals(answers, difference, seed=1, name="x")
    statistics.intervals(answers, difference, seed=1, name="between")
    assert statistics.intervals(answers, difference, seed=1, name="x") == first
    assert statistics.intervals(answers, difference, seed=2, name="x") != first


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 10))
def test_mcnemar_is_the_binomial_test(lost, won, same):
    before, after = [1.0] * lost + [0.0] * won + [1.0] * same, [0.0] * lost + [1.0] * won + [1.0] * same
    expected = binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert statistics.mcnemar_p(before, after) == pytest.approx(expected)


def test_mcnemar_by_hand():
    """1 won, 5 lost: 2 (C(6,0) + C(6,1)) / 2^6 = 14/64."""
    before, after = [1.0] * 5 + [0.0], [0.0] * 5 + [1.0]
    assert statistics.mcnemar_p(before, after) == 14 / 64


def test_mcnemar_needs_right_or_wrong():
    assert statistics.mcnemar_p([0.5, 1.0], [0.0, 1.0]) is None


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_every_interval_holds_its_point(rows):
    answers = np.array(rows)
    point = float(difference(answers.mean(axis=0)))
    for each in statistics.intervals(answers, difference, seed=0, name="x"):
        assert each.low - 1e-9 <= point <= each.high + 1e-9


def fractions():
    """Forty different rows, so that items are drawn one by one."""
    return np.array([((i * 7 % 40) / 40, (i * 11 % 37) / 37) for i in range(40)])


@pytest.mark.parametrize(
    ("answers", "statistic", "expected"),
    [
        (pairs(60, 25, 10, 25), difference, [(-0.2, -0.041666), (-0.216666, -0.033333), (-0.241666, 0.0)]),
        (pairs(147, 3, 0, 150), difference, [(-0.02, 0.006602), (-0.023333, 0.012220), (-0.026666, 0.017506)]),
        (pairs(50, 10, 5, 35), relative, [(-0.018518, 0.183333), (-0.038461, 0.202898), (-0.083333, 0.237288)]),
        (fractions(), relative, [(-0.227259, 0.238642), (-0.283682, 0.272240), (-0.408681, 0.341950)]),
    ],
)  # fmt: skip
def test_what_an_earlier_release_drew_is_drawn_again(answers, statistic, expected):
    """A run that holds intervals opens only where the same draws come out: else honest runs are turned away."""
    found = statistics.intervals(answers, statistic, seed=3, name="x")
    assert [bound for each in found for bound in (each.low, each.high)] == pytest.approx(
        [bound for pair in expected for bound in pair], abs=2e-6
    )


def test_draws_are_of_seed_and_name():
    assert statistics.generator(0, "x").integers(1000, size=4).tolist() == [949, 407, 858, 152]
    assert statistics.generator(3, "a b").integers(1000, size=4).tolist() == [451, 912, 30, 494]


def test_two_items_have_an_error():
    assert statistics.stderr(np.array([[1.0], [0.0]]), lambda means: means[..., 0]) == pytest.approx(0.5)


def test_an_error_that_one_item_decides_is_none():
    """Without the one item that base answered there is no ratio."""
    assert statistics.stderr(np.array([(1.0, 0.0), (0.0, 0.0), (0.0, 0.0)]), relative) is None


def test_mcnemar_compares_the_same_items():
    with pytest.raises(ValueError, match="argument 2"):
        statistics.mcnemar_p([1.0, 0.0], [1.0])


def test_what_was_never_seen_may_happen_as_often_as_its_bound():
    assert statistics.never_seen(1, 0.05) == pytest.approx(0.95)
    assert statistics.never_seen(300, 0.025) == pytest.approx(0.0122210, abs=1e-7)


def test_large_samples_are_drawn_in_parts(monkeypatch):
    """However many at a time, there are as many resamples, and items of equal answers are drawn together."""
    monkeypatch.setattr(statistics, "_CHUNK", 100 * 40)
    answers = fractions()
    drawn = statistics.resample(answers, relative, statistics.generator(0, "x"))
    assert len(drawn) == statistics.RESAMPLES
    monkeypatch.setattr(statistics, "_CHUNK", 1)
    monkeypatch.setattr(statistics, "RESAMPLES", 7)
    assert len(statistics.resample(answers, relative, statistics.generator(0, "x"))) == 7


def test_mcnemar_of_thousands_of_items_is_still_exact():
    """The number of ways has 600 digits, more than a float holds."""
    before, after = [1.0] * 1000 + [0.0] * 1100, [0.0] * 1000 + [1.0] * 1100
    assert statistics.mcnemar_p(before, after) == pytest.approx(binomtest(1100, 2100, 0.5).pvalue)


def test_a_change_in_the_ninth_digit_is_one_and_in_the_last_is_none():
    """What was won in every item was seen: upwards there is nothing to widen."""
    before = np.full((100, 1), 0.5)
    won = at(statistics.intervals(np.hstack([before, before + 1e-9]), difference, seed=0, name="x"), 0.95)
    assert won.high < 1e-8
    assert won.low < -0.01
    same = at(statistics.intervals(np.hstack([before, before + 1e-15]), difference, seed=0, name="x"), 0.95)
    assert same.high > 0.01
