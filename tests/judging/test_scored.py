"""A score with its error: what belongs to it, and means that are rounded once."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task, ones
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.scored import exact_means, with_error
from unlearn_guard.records import Interval, Role

STALE = {"stderr": 0.7, "intervals": (Interval(confidence=0.95, low=0.1, high=0.2),), "p_value": 0.3}


def stale(score):
    """With an error that somebody wrote there."""
    return replace(score, measurement=replace(score.measurement, **STALE))


def test_an_error_is_worked_out_and_not_taken_over():
    """3 of 4 right: sqrt(3/16 / 3)."""
    found = with_error(stale(made_score(made_task(4), "1110")), 0)
    assert found.stderr == pytest.approx(0.25)
    assert found.p_value is None
    assert [each.confidence for each in found.intervals] == [0.9, 0.95, 0.99]
    assert found.intervals != STALE["intervals"]


def test_an_interval_that_is_given_is_taken():
    score = made_score(made_task(4), "1110")
    given = {"sha256:candidate acc[forget_task-full]": STALE["intervals"]}
    assert with_error(score, 0, given).intervals == STALE["intervals"]
    assert with_error(score, 0, {"acc[forget_task-full]": ()}).intervals == with_error(score, 0).intervals
    assert with_error(score, 1).intervals != with_error(score, 0).intervals


def test_a_probe_keeps_its_own_error():
    found = with_error(stale(made_score(made_task(4, role=Role.PROBE), [3.0, 1.0, 2.0, 2.0])), 0)
    assert (found.stderr, found.intervals, found.p_value) == (0.7, STALE["intervals"], None)


def test_a_count_of_truncated_items_has_no_error():
    scores = [stale(made_score(made_task(40), ones(38, 40), subject)) for subject in (BASE, CANDIDATE)]
    for each in derive(scores, base=BASE, candidate=CANDIDATE, seed=0):
        if each.metric == "truncated":
            assert (each.value, each.stderr, each.intervals, each.p_value) == (0.0, None, (), None)


def test_an_interval_that_is_given_is_taken_for_a_comparison_too():
    scores = [made_score(made_task(40), ones(right, 40), whose) for right, whose in ((38, BASE), (4, CANDIDATE))]
    given = {"sha256:candidate forget_drop[forget_task-full]": STALE["intervals"]}
    found = {each.metric: each for each in derive(scores, base=BASE, candidate=CANDIDATE, seed=0, given=given)}
    assert found["forget_drop"].intervals == STALE["intervals"]
    assert len(found["above_chance_removed"].intervals) == 3


def test_means_are_exact():
    means = exact_means(np.array([[0.1, 1.0], [0.2, 0.0], [0.1, 0.0]]))
    assert means.tolist() == [(2 * Fraction(0.1) + Fraction(0.2)) / 3, Fraction(1, 3)]
