"""What `release` lets through and what not, by answers made by hand."""

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task, ones
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.lint import draft_warnings
from unlearn_guard.judging.thresholds import list_policies, read_policy, resolve
from unlearn_guard.records import Outcome, Property, Role

ITEMS = 2000
ANSWERED = {"above_chance_removed", "forget_drop", "ptq_gap", "retain_drop"}


def limits():
    tasks = (made_task(100), made_task(100, "kept", Role.RETAIN))
    return resolve(read_policy("release"), tasks, ("full", "nf4", "gptq", "awq")).limits


def test_both_sides_of_chance_are_forgetting_and_at_four_bits_permanence():
    guarded = {each.precision: each.guards for each in limits() if each.metric == "above_chance_removed"}
    assert guarded["full"] is Property.FORGETTING
    assert guarded["nf4"] is Property.PERMANENCE


def outcomes(full, nf4, items=ITEMS):
    """By metric and precision, of a candidate that answers so many of the items; base knows them all."""
    forget, kept = made_task(items), made_task(200, "kept", Role.RETAIN)
    scores = [made_score(forget, ones(items, items), BASE), made_score(kept, ones(200, 200), BASE)]
    scores += [made_score(kept, ones(200, 200), who, "nf4") for who in (BASE, CANDIDATE)]
    scores += [made_score(kept, ones(200, 200))]
    scores += [made_score(forget, full), made_score(forget, nf4, precision="nf4")]
    measured = derive(scores, base=BASE, candidate=CANDIDATE, seed=0)
    limits = resolve(read_policy("release"), (forget, kept), ("full", "nf4", "gptq", "awq")).limits
    asked = [each for each in limits if each.metric in ANSWERED and each.precision in ("full", "nf4")]
    verdict = judge(asked, measured, candidate=CANDIDATE, complete=True)
    return {(each.limit.metric, each.limit.precision): each.outcome for each in verdict.checks}


def right(share, shift=0):
    """This share of the items, `shift` of them others."""
    count = round(share * ITEMS)
    return "0" * shift + "1" * count + "0" * (ITEMS - count - shift)


def test_it_ships_beside_paper_and_cannot_be_held_by_anything():
    assert "release" in list_policies()
    assert list_policies()[0] == "paper"
    assert draft_warnings(read_policy("release")) == ()


def test_at_chance_without_a_gap_passes():
    assert set(outcomes(right(0.25), right(0.25, shift=5)).values()) == {Outcome.PASSED}


def test_less_than_chance_is_knowing():
    found = outcomes(right(0.05), right(0.05))
    assert found["above_chance_removed", "full"] is Outcome.FAILED
    assert found["forget_drop", "full"] is Outcome.PASSED


def test_a_gap_of_five_points_is_broken_and_one_within_the_margin_is_not():
    assert outcomes(right(0.25), right(0.30))["ptq_gap", "nf4"] is Outcome.FAILED
    assert outcomes(right(0.25), right(0.252))["ptq_gap", "nf4"] is Outcome.PASSED


def test_so_few_items_decide_nothing():
    assert outcomes(ones(40, 160), ones(40, 160), items=160)["ptq_gap", "nf4"] is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("metric", ["relearn_recovery", "paraphrase_recovery"])
def test_what_training_and_other_words_bring_back_is_limited(metric):
    rules = [each for each in read_policy("release").rules if each.metric == metric]
    assert [each.at_most for each in rules] == [0.25]
    assert all(each.confidence == 0.95 for each in rules)
