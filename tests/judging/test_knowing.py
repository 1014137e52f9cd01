"""What base never knew is not forgotten: floors and retrained models, by hand."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task, ones
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.knowing import known, unknown
from unlearn_guard.records import Role

RETRAINED = "sha256:retrained"


def recall(mean, items=100, spread=0.2):
    """ROUGE-like shares around a mean."""
    return [mean + spread * (1 if index % 2 else -1) for index in range(items)]


def tofu(base, candidate, floor=0.41, retrained=None, role=Role.FORGET):
    task = replace(made_task(100, role=role, chance=0.0, metric="rougeL_recall"), floor=floor)
    scores = [made_score(task, base, BASE), made_score(task, candidate)]
    return scores if retrained is None else [*scores, made_score(task, retrained, RETRAINED)]


def names(scores, retrained=None):
    return {
        m.metric: m
        for m in derive(scores, base=BASE, candidate=CANDIDATE, seed=0, retrained=retrained)
        if m.subject == CANDIDATE
    }


def test_a_base_that_never_saw_the_forget_set_yields_no_forget_drop():
    """TOFU's retain90 model as base: .41, and the candidate down at .2. Without the floor the drop would be .5."""
    never_saw = tofu(recall(0.41), recall(0.2))
    assert "forget_drop" not in names(never_saw)
    assert "forget_drop" in names(tofu(recall(0.41), recall(0.2), floor=None))
    (note,) = unknown(never_saw, base=BASE, seed=0)
    assert "0.410 is not clearly above what a model that never saw it scores (0.410, 100 items)" in note
    assert known(never_saw, base=BASE, seed=0) == ()


def test_a_base_that_did_is_judged_and_its_knowledge_counted_from_the_floor():
    """.8 to .5: .3/.8 of the score is gone, and .3/.39 of what nobody could guess."""
    found = names(tofu(recall(0.8, spread=0.1), recall(0.5)))
    assert found["forget_drop"].value == pytest.approx(0.3 / 0.8)
    assert found["above_chance_removed"].value == pytest.approx(0.3 / 0.39)


def test_the_retrained_model_takes_the_place_of_the_floor():
    """It scores .6 here: a base of .6 knows nothing, whatever the suite's floor says."""
    scores = tofu(recall(0.6), recall(0.2), retrained=recall(0.6))
    assert "forget_drop" in names(scores[:2])
    assert "forget_drop" not in names(scores, RETRAINED)
    (note,) = unknown(scores, base=BASE, seed=0, retrained=RETRAINED)
    assert "what the retrained model scores (0.600" in note


def test_a_retrained_model_that_scores_less_than_the_floor_lets_base_know():
    scores = tofu(recall(0.45), recall(0.1, spread=0.1), retrained=recall(0.3))
    assert "forget_drop" not in names(scores[:2])
    found = names(scores, RETRAINED)
    assert found["above_chance_removed"].value == pytest.approx(0.35 / 0.15)


def test_base_and_the_retrained_model_are_compared_item_by_item():
    """A difference of .06 in every item is clear, however widely the items differ; not so against others."""
    low = recall(0.45, spread=0.4)
    high = [each + 0.06 for each in low]
    assert "forget_drop" in names(tofu(high, recall(0.2), retrained=low), RETRAINED)
    assert "forget_drop" not in names(tofu(high[1:] + high[:1], recall(0.2), retrained=low), RETRAINED)


def test_a_retain_task_is_no_floor_of_the_retrained_model():
    """It learnt what stays, as base did; only the suite's own floor says what is scored without."""
    scores = tofu(
        recall(0.9, spread=0.05), recall(0.88, spread=0.05), retrained=recall(0.9, spread=0.1), role=Role.RETAIN
    )
    assert "retain_drop" in names(scores, RETRAINED)
    assert "retain_drop" not in names(tofu(recall(0.41), recall(0.41), role=Role.RETAIN))


def test_chance_still_counts_beside_a_retrained_model():
    task = made_task(100)
    scores = [
        made_score(task, ones(25, 100), BASE),
        made_score(task, ones(5, 100)),
        made_score(task, ones(0, 100), RETRAINED),
    ]
    assert "forget_drop" not in names(scores, RETRAINED)


@pytest.mark.parametrize("floor", [-0.1, 1.0, float("nan")])
def test_a_floor_is_a_share(floor):
    with pytest.raises(ValueError, match="floor"):
        replace(made_task(10), floor=floor)


def test_what_is_scored_without_knowing_must_lie_below_the_whole_interval():
    """Not at its end: the floor is met exactly here."""
    scores = tofu(recall(0.5), recall(0.2), floor=None)
    low = names_of_base(scores)["rougeL_recall"].interval(0.95).low
    assert "forget_drop" in names(tofu(recall(0.5), recall(0.2), floor=low - 1e-9))
    assert "forget_drop" not in names(tofu(recall(0.5), recall(0.2), floor=low))


def names_of_base(scores):
    return {m.metric: m for m in derive(scores, base=BASE, candidate=CANDIDATE, seed=0) if m.subject == BASE}


@pytest.mark.parametrize(("won", "lost", "knows"), [(5, 1, False), (10, 3, False), (7, 1, True)])
def test_base_is_clearly_above_the_retrained_model_or_it_does_not_know(won, lost, knows):
    """Of 100 items it wins 5 and loses 1: the paired interval begins at 0 exactly, which is not above it."""
    task = made_task(100)
    base = [1.0] * (60 + won) + [0.0] * (40 - won)
    retrained = [1.0] * 60 + [0.0] * won + [1.0] * lost + [0.0] * (40 - won - lost)
    scores = [made_score(task, base, BASE), made_score(task, ones(5, 100)), made_score(task, retrained, RETRAINED)]
    assert ("forget_drop" in names(scores, RETRAINED)) is knows
    assert (known(scores, base=BASE, seed=0, retrained=RETRAINED) == ("forget_task",)) is knows
    assert (unknown(scores, base=BASE, seed=0, retrained=RETRAINED) == ()) is knows


def test_a_floor_below_chance_is_none():
    task = replace(made_task(100), floor=0.1)
    scores = [made_score(task, ones(25, 100), BASE), made_score(task, ones(5, 100))]
    assert "forget_drop" not in names(scores)
    (note,) = unknown(scores, base=BASE, seed=0)
    assert "chance (0.250" in note


def test_only_forget_tasks_in_full_precision_are_known():
    full = made_score(made_task(100), ones(90, 100), BASE)
    assert (
        known(
            [replace(full, precision="nf4", measurement=replace(full.measurement, precision="nf4"))], base=BASE, seed=0
        )
        == ()
    )
    assert known([made_score(made_task(100), ones(90, 100))], base=BASE, seed=0) == ()
