"""The positive control: what a dose of base is measured as, and which is the smallest that would have been caught."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_score, made_scores, made_task, ones
from unlearn_guard.errors import ScoringError
from unlearn_guard.judging.dosing import dosed_precision, doses, share_of
from unlearn_guard.records import Dose, certificate


def mixture(share, right, items=100):
    score = made_score(made_task(items), ones(right, items))
    name = dosed_precision(share)
    return (replace(score, precision=name, measurement=replace(score.measurement, precision=name)),)


def made_doses(rights):
    mixtures = {share: mixture(share, right) for share, right in rights.items()}
    return doses(made_scores(), mixtures, base=BASE, candidate=CANDIDATE, seed=0)


LIMITS = [made_limit("forget_drop", at_least=0.3)]


def test_a_dose_is_measured_as_if_it_were_the_candidate():
    found = made_doses({0.1: 45})[0]
    drop = next(each for each in found.measurements if each.metric == "forget_drop")
    assert (drop.value, drop.subject, drop.precision) == (0.5, CANDIDATE, "full")  # base knows 90, the mixture 45
    assert {each.subject for each in found.measurements} == {CANDIDATE}


def test_the_smallest_dose_from_which_on_all_are_caught():
    found = certificate(made_doses({0.5: 90, 0.1: 30, 0.3: 70}), LIMITS)  # drops 0, .67, .22
    assert (found.share, found.limits, found.asked) == (0.3, ("forget_drop[forget_task-full]",), (0.1, 0.3, 0.5))


def test_a_dose_that_is_caught_below_one_that_is_not_is_no_certificate():
    assert certificate(made_doses({0.1: 80, 0.3: 20, 0.5: 90}), LIMITS).share == 0.5
    assert certificate(made_doses({0.1: 80, 0.5: 20}), LIMITS).share is None


def test_an_inconclusive_dose_would_not_have_passed():
    limits = [made_limit("forget_drop", at_least=0.3, confidence=0.95)]
    assert certificate(made_doses({0.1: 60}), limits).share == 0.1


@pytest.mark.parametrize(
    "limits", [[], [made_limit("cad", at_least=0.8)], [made_limit("forget_drop", "t", at_least=0.3)]]
)
def test_a_policy_that_asks_nothing_of_the_forget_items_catches_nothing(limits):
    assert certificate(made_doses({0.1: 90}), limits).share is None


def test_without_doses_there_is_no_certificate():
    assert certificate((), LIMITS) is None


def test_answers_to_other_items_are_no_dose():
    with pytest.raises(ScoringError):
        doses(made_scores(), {0.1: mixture(0.1, 5, items=50)}, base=BASE, candidate=CANDIDATE, seed=0)


@pytest.mark.parametrize(
    "name", ["full", "full-bfloat16", "full-dose-", "full-dose-1.0", "full-dose-0.10", "full-dose-nan"]
)
def test_other_precisions_are_no_doses(name):
    assert share_of(name) is None


def test_a_share_is_read_as_it_is_written():
    assert share_of(dosed_precision(0.05)) == 0.05


def test_all_or_nothing_is_no_dose():
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="not between"):
            Dose(share=share, measurements=())
