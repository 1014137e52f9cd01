"""What can be had back, by hand, by the literal count, and at its ends."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from unlearn_guard.judging.recovered import DEPTH, recovered
from unlearn_guard.records import BASE, CANDIDATE, CONTROL, Trial, Trials


def trials(candidate, *, base=((1, 1, 1, 1),), control=((0.25,) * 4,), metric="relearn_recovery"):
    sides = ((BASE, base), (CANDIDATE, candidate), (CONTROL, control))
    made = tuple(
        Trial(who=who, setting=f"setting {number}", correct=tuple(map(float, row)))
        for who, rows in sides
        for number, row in enumerate(rows)
    )
    items = tuple(f"item-{number}" for number in range(len(made[0].correct)))
    return Trials(metric=metric, task="t", precision="full", subject="c", items=items, trials=made)


def value(*given, **more):
    found = recovered(trials(*given, **more), seed=0)
    assert found is not None
    return found.value


def test_by_hand():
    # Candidate .5, control .25, base 1: a third.
    assert value([(1, 1, 0, 0)]) == pytest.approx(1 / 3)


def test_base_reads_one_and_what_never_knew_nothing():
    assert value([(1, 1, 1, 1)]) == 1.0
    assert value([(0.25,) * 4]) == 0.0


def test_below_the_control_is_cut_off_at_nothing():
    assert value([(0, 0, 0, 0)]) == 0.0


def test_the_setting_is_chosen_by_the_other_half():
    # Setting 0 is right on items 0 and 2 alone, setting 1 on items 1 and 3: each half prefers the one that fails
    # on the other, so that nothing is won by having two.
    assert value([(1, 0, 1, 0), (0, 1, 0, 1)], control=((0,) * 4,)) == 0.0
    # One that is good on both halves is found among bad ones.
    assert value([(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 0, 0)]) == 1.0


def test_luck_in_many_settings_adds_nothing():
    """Of models at chance, the best of thirty settings reads as 0 on average; the plain maximum would not."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(40):
        rows = (draw.random((30, 100)) < 0.25).astype(float)
        one = trials(rows, base=((1.0,) * 100,), control=((0.25,) * 100,))
        found.append((recovered(one, seed=0).value, (rows.mean(axis=1).max() - 0.25) / 0.75))
    honest, lucky = np.mean(found, axis=0)
    assert honest < 0.03
    assert lucky > 0.08


def literal(made):
    """Fractions, item by item."""

    def mean(who):
        rows = [[Fraction(share) for share in each.correct] for each in made.of(who)]
        total = Fraction(0)
        for place in range(len(made.items)):
            others = [p for p in range(len(made.items)) if p % 2 != place % 2]
            scores = [sum(row[p] for p in others) for row in rows]
            total += rows[scores.index(max(scores))][place]
        return total / len(made.items)

    share = (mean(CANDIDATE) - mean(CONTROL)) / (mean(BASE) - mean(CONTROL))
    return float(min(1, max(0, share)))


def test_the_literal_count_agrees():
    draw = np.random.default_rng(1)
    for _ in range(20):
        candidate, control = (draw.random((3, 21)) < 0.6).astype(float), (draw.random((3, 21)) < 0.2).astype(float)
        made = trials(candidate, base=((1.0,) * 21,), control=control)
        assert recovered(made, seed=0).value == pytest.approx(literal(made))


def test_the_interval_holds_the_value_and_narrows_with_items():
    few = recovered(trials([(1, 0) * 20], base=((1,) * 40,), control=((0.25,) * 40,)), seed=0)
    many = recovered(trials([(1, 0) * 200], base=((1,) * 400,), control=((0.25,) * 400,)), seed=0)
    for each in (few, many):
        interval = each.interval(0.95)
        assert 0.0 <= interval.low <= each.value <= interval.high <= 1.0
    assert many.interval(0.95).high < few.interval(0.95).high


def test_no_interval_reaches_beyond_all_or_nothing():
    sure = recovered(trials([(1,) * 40], base=((1,) * 40,), control=((0.25,) * 40,)), seed=0)
    assert sure.interval(0.95).high == 1.0
    assert 0.8 < sure.interval(0.95).low < 1.0


def test_nothing_is_said_where_base_is_not_clearly_above_the_control():
    """Twelve of forty beside a quarter: what anybody might have guessed is nothing to recover."""
    luck = (1.0,) * 12 + (0.0,) * 28
    assert recovered(trials([(0.0,) * 40], base=(luck,), control=((0.25,) * 40,)), seed=0) is None


def test_nothing_is_said_where_base_gives_no_more_than_the_control():
    assert recovered(trials([(0, 0, 0, 0)], base=((1, 0, 0, 0),)), seed=0) is None


def test_depth_is_the_mean_over_layers_from_the_other_end():
    layers = [(1, 1, 1, 1), (1, 1, 1, 1), (1, 0, 0, 0), (0.25,) * 4]
    # Carried 1, 1, 0, 0 of what base knows above chance: half is gone.
    assert value(layers, metric=DEPTH) == pytest.approx(0.5)
    assert value([(1, 1, 1, 1)] * 4, metric=DEPTH) == 0.0


def test_trials_that_cannot_be_are_refused():
    made = trials([(1, 1, 0, 0)])
    with pytest.raises(ValueError, match="does not answer every item"):
        replace(made, items=("a", "b"))
    with pytest.raises(ValueError, match="twice"):
        replace(made, items=("a", "a", "b", "c"))
    with pytest.raises(ValueError, match="trials of"):
        replace(made, trials=made.of(BASE))
    with pytest.raises(ValueError, match="outside"):
        Trial(who=BASE, setting="x", correct=(2.0,))
