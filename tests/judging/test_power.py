import pytest

from tests.oracles.made_scores import made_limit, made_task
from unlearn_guard.judging.power import BEYOND, NOT_SAMPLED, ON_THE_BOUND, Assumed, needs

TASK = made_task(160)
PRECISIONS = ("nf4", "gptq", "awq")


def one(metric, assumed=Assumed(), task=TASK, **bounds):  # noqa: B008  # frozen
    return needs([made_limit(metric, **bounds)], {TASK.name: task}, assumed)[0]


def test_by_hand():
    # (1.95996 + 1.28155)^2 = 10.5074; 10.5074 * .14 / .02^2 = 3,677.6
    assert one("ptq_gap", at_most=0.02, confidence=0.95).alone == 3678
    # 10.5074 * .25 * .75 / .75^2 / .1^2 = 350.2
    assert one("above_chance_removed", at_least=0.5, at_most=1.1, confidence=0.95).alone == 351


def test_six_gaps_of_two_points_need_six_thousand_items_and_of_five_a_thousand():
    tasks = {name: made_task(160, name) for name in ("lettered", "plain")}
    for margin, about in ((0.02, 6000), (0.05, 1000)):
        limits = [
            made_limit("ptq_gap", task=task, precision=each, at_most=margin, confidence=0.95)
            for task in tasks
            for each in PRECISIONS
        ]
        found = needs(limits, tasks, Assumed())
        assert {each.together for each in found} == {found[0].together}
        assert found[0].together == pytest.approx(about, rel=0.07)


def test_a_limit_that_any_suite_can_tell_costs_the_tight_ones_nothing():
    tight = made_limit("ptq_gap", precision="nf4", at_most=0.02, confidence=0.95)
    easy = [made_limit("retain_drop", precision=each, at_most=0.15) for each in ("full", *PRECISIONS)]
    alone, with_all = (needs(each, {TASK.name: TASK}, Assumed()) for each in ([tight], [tight, *easy]))
    assert with_all[0].together == pytest.approx(alone[0].together, rel=0.02)


def test_a_bound_at_nothing_is_a_coin_flip_whatever_is_asked():
    found = one("ptq_gap", at_most=0.0)
    assert (found.alone, found.together, found.why, found.enough) == (None, None, ON_THE_BOUND, False)


def test_what_an_honest_candidate_breaks_is_said():
    assert one("forget_drop", at_least=0.9).why == BEYOND


def test_attribution_is_not_sampled():
    found = one("cad", at_least=0.8)
    assert (found.there, found.why, found.enough) == (None, NOT_SAMPLED, None)


def test_without_a_confidence_fewer_items_do():
    bounds = {"at_least": 0.3}
    assert one("forget_drop", **bounds).alone < one("forget_drop", confidence=0.95, **bounds).alone


@pytest.mark.parametrize(
    ("metric", "bounds"),
    [
        ("ptq_gap", {"at_most": 0.05}),
        ("retain_drop", {"at_most": 0.15}),
        ("above_chance_removed", {"at_least": 0.5, "at_most": 1.1}),
        ("relearn_recovery", {"at_most": 0.2}),
    ],
)
def test_more_power_and_a_base_that_knows_less_need_more(metric, bounds):
    plain = one(metric, confidence=0.95, **bounds).alone
    assert one(metric, Assumed(power=0.95), confidence=0.95, **bounds).alone > plain
    less = one(metric, Assumed(base_score=0.6, discordance=0.3), confidence=0.95, **bounds).alone
    assert less > plain


def test_answers_that_never_differ_still_need_the_rule_of_three():
    # 1 - .025^(1/n) <= .02 from n = 183 on; the twin's .04 differ in one direction: 10.5074 * (.04 - .0016) / .0004
    assert one("ptq_gap", Assumed(discordance=0.0), at_most=0.05, confidence=0.95).alone >= 72
    assert one("ptq_gap", Assumed(discordance=0.0), at_most=0.02, confidence=0.95).alone == 1009


def test_only_part_of_the_items_may_be_asked():
    limits = [made_limit("dtype_gap", at_most=0.1)]
    assert needs(limits, {TASK.name: TASK}, Assumed(), asked={"dtype_gap": 100})[0].there == 100


def test_a_base_that_does_not_know_is_no_assumption():
    with pytest.raises(ValueError, match="not above"):
        one("above_chance_removed", Assumed(base_score=0.25), at_most=1.1)
