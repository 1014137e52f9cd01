from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.doubt import items_that_decide
from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_score, made_scores, made_task, ones
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import Interval, Measurement, Outcome, doubt


def gap_check(won, lost, items, **bounds):
    """`ptq_gap` at nf4 of a candidate that gains `won` answers and loses `lost`."""
    task, base = made_task(items), ones(items, items)
    full = "0" * won + "1" * lost + "0" * (items - won - lost)
    nf4 = "1" * won + "0" * (items - won)
    scores = (made_score(task, base, BASE), made_score(task, full), made_score(task, nf4, precision="nf4"))
    limit = made_limit("ptq_gap", precision="nf4", **bounds)
    return judge(
        [limit], derive(scores, base=BASE, candidate=CANDIDATE, seed=0), candidate=CANDIDATE, complete=True
    ).checks[0]


def test_one_of_160_items_is_not_told_from_none_and_615_would_tell():
    check = gap_check(1, 0, 160, at_most=0.0)
    assert check.outcome is Outcome.FAILED
    # stderr = 1/160 = the distance, so (1.96)^2 as many: 160 * 3.8415 = 614.6
    assert (doubt(check).bound, doubt(check).items) == (0.0, 615)


@pytest.mark.parametrize(("won", "lost", "in_doubt"), [(3, 0, True), (4, 0, False), (7, 2, True), (40, 5, False)])
def test_a_broken_point_is_in_doubt_while_it_is_less_than_its_error(won, lost, in_doubt):
    check = gap_check(won, lost, 160, at_most=0.0)
    assert check.outcome is Outcome.FAILED
    assert (doubt(check) is not None) == in_doubt
    if in_doubt:
        assert doubt(check).items > 160


def test_what_passed_or_was_never_measured_is_in_no_doubt():
    assert doubt(gap_check(0, 1, 160, at_most=0.0)) is None
    assert doubt(replace(gap_check(1, 0, 160, at_most=0.0), measurement=None)) is None


def test_no_gap_in_160_items_needs_183_for_a_margin_of_two_points():
    check = gap_check(0, 0, 160, at_most=0.02, confidence=0.95)
    assert check.outcome is Outcome.INCONCLUSIVE
    # nothing was seen, so the interval is 1 - 0.025^(1/160) = 0.02279 and falls with the items: 160 * 1.1396
    assert doubt(check).items == 183


@pytest.mark.parametrize(
    ("won", "lost", "items", "bound"),
    [(12, 10, 160, 0.05), (20, 20, 160, 0.02), (30, 10, 200, 0.08), (11, 11, 157, 0.05), (0, 0, 90, 0.02)],
)
def test_the_items_that_decide_are_those_found_by_asking_more(won, lost, items, bound):
    check = gap_check(won, lost, items, at_most=bound, confidence=0.95)
    assert check.outcome is Outcome.INCONCLUSIVE
    assert doubt(check).items == pytest.approx(items_that_decide(won, lost, items, bound), rel=0.25)


def two_sided(value, low, high, stderr=0.05, at_least=0.5, at_most=1.1):
    limit = made_limit("above_chance_removed", at_least=at_least, at_most=at_most, confidence=0.95)
    measurement = Measurement(
        subject=CANDIDATE,
        precision="full",
        task="forget_task",
        metric="above_chance_removed",
        value=value,
        samples=100,
        stderr=stderr,
        intervals=(Interval(confidence=0.95, low=low, high=high),),
    )
    return judge([limit], [measurement], candidate=CANDIDATE, complete=True).checks[0]


def test_of_two_bounds_the_one_that_needs_more_items_counts():
    found = doubt(two_sided(1.0, 0.4, 1.3, stderr=0.2))
    assert found.bound == 1.1
    assert found.items > 300
    assert doubt(two_sided(1.0, 0.9, 1.2)).bound == 1.1
    assert doubt(two_sided(1.2, 1.0, 1.3)).bound == 1.1  # outside already: when would it fail for certain


def test_on_the_bound_no_number_of_items_decides():
    found = doubt(two_sided(1.1, 1.0, 1.2))
    assert (found.bound, found.items) == (1.1, None)


def test_a_point_that_holds_by_noise_alone_needs_the_noise_to_fall_below_the_distance():
    limit = made_limit("cad", at_least=0.8)
    made = {"subject": CANDIDATE, "precision": "full", "task": "forget_task", "samples": 50, "stderr": 0.1}
    measured = [Measurement(metric="cad", value=0.9, **made), Measurement(metric="cad_corrected", value=0.75, **made)]
    check = judge([limit], measured, candidate=CANDIDATE, complete=True).checks[0]
    assert check.outcome is Outcome.INCONCLUSIVE
    assert doubt(check).items == 450  # (0.15 / 0.05)^2 as many


@given(
    st.floats(-1, 2), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5),
    st.lists(st.floats(-1, 2), min_size=1, max_size=2),
)  # fmt: skip
def test_an_inconclusive_interval_always_needs_at_least_the_items_there_are(value, below, above, stderr, bounds):
    bounds = {"at_least": min(bounds), "at_most": max(bounds)} if len(bounds) > 1 else {"at_most": bounds[0]}
    check = two_sided(value, value - below, value + above, stderr, **{"at_least": None, **bounds})
    found = doubt(check)
    assert (found is not None) == (check.outcome is Outcome.INCONCLUSIVE)
    if found is not None and found.items is not None:
        assert found.items >= 100
    assert np.isfinite(found.bound) if found else True


def test_a_made_run_that_passes_is_in_no_doubt():
    measurements = derive(made_scores(), base=BASE, candidate=CANDIDATE, seed=0)
    limit = made_limit("forget_drop", at_least=0.3)
    assert doubt(judge([limit], measurements, candidate=CANDIDATE, complete=True).checks[0]) is None
