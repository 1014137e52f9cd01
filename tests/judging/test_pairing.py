"""Scores side by side: the order of the items, what is named where they differ, and what contradicts itself."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task
from unlearn_guard.errors import ScoringError
from unlearn_guard.judging.pairing import Table, answers
from unlearn_guard.records import Role


def refused(call, *arguments, **named):
    with pytest.raises(ScoringError) as caught:
        call(*arguments, **named)
    return [(defect.where, defect.found) for defect in caught.value.defects]


def elsewhere(score, *ids):
    """With other items in place of these."""
    changed = (replace(each, id=f"{each.id}x") if each.id in ids else each for each in score.samples)
    return replace(score, samples=tuple(changed))


def test_tasks_and_precisions_come_in_the_order_in_which_they_were_scored():
    one, two = made_task(2, "one"), made_task(2, "two")
    scores = [made_score(two, "10", precision="nf4"), made_score(one, "10"), made_score(two, "11")]
    table = Table(scores, subjects=())
    assert table.tasks == (two, one)
    assert table.precisions == ("nf4", "full")
    assert table.get(CANDIDATE, "nf4", "two") is scores[0]
    assert table.get(CANDIDATE, "nf4", "one") is table.get(BASE, "full", "two") is None


def test_answers_stand_in_the_first_score_s_order():
    task = made_task(3)
    first, second = made_score(task, "100", BASE), made_score(task, "110")
    assert answers((first, second)).tolist() == [[1, 1], [0, 1], [0, 0]]
    turned = replace(first, samples=first.samples[::-1])
    assert answers((turned, second)).tolist() == [[0, 0], [0, 1], [1, 1]]
    assert answers((first,)).tolist() == [[1], [0], [0]]


def test_all_that_differs_is_named_at_once_and_of_many_items_five():
    task = made_task(20)
    base, candidate = made_score(task, "1" * 20, BASE), made_score(task, "0" * 20)
    assert refused(answers, (base, elsewhere(candidate, "1"))) == [
        ("acc[forget_task-full] of sha256:candidate", "missing: item 1"),
        ("acc[forget_task-full] of sha256:candidate", "not asked of the other: item 1x"),
    ]
    five, six = (elsewhere(candidate, *"345678"[:count]) for count in (5, 6))
    assert refused(answers, (base, five))[0][1] == "missing: item 3, 4, 5, 6, 7"
    assert refused(answers, (base, six))[0][1] == "missing: item 3, 4, 5, 6, 7 and 1 more"
    other = replace(
        candidate,
        samples=(
            replace(candidate.samples[0], prompt="other"),
            replace(candidate.samples[1], target="B"),
            *elsewhere(candidate, "2").samples[2:],
        ),
    )
    assert [found for _, found in refused(answers, (base, other))] == [
        "missing: item 2",
        "not asked of the other: item 2x",
        "another prompt: item 0",
        "another target: item 1",
    ]


def test_of_items_answered_twice_the_doubled_are_named():
    score = made_score(made_task(4), "1111")
    twice = replace(score, samples=(score.samples[0], *score.samples[:3]))
    assert refused(Table, [twice], subjects=()) == [
        ("acc[forget_task-full] of sha256:candidate", "answered twice: item 0")
    ]


@pytest.mark.parametrize("field", ["subject", "precision", "task", "metric", "samples"])
def test_a_measurement_is_the_score_s_own(field):
    score = made_score(made_task(4), "1111")
    changed = replace(score.measurement, **{field: 3 if field == "samples" else "other"})
    ((_, found),) = refused(Table, [replace(score, measurement=changed)], subjects=())
    assert found.startswith("a measurement of (")


def test_a_mean_is_that_of_the_items_to_the_last_digits():
    score = made_score(made_task(4), "1100")
    assert Table([replace(score, measurement=replace(score.measurement, value=0.5 + 1e-12))], subjects=()).tasks
    for off in (1e-6, -1e-6):
        ((_, found),) = refused(
            Table, [replace(score, measurement=replace(score.measurement, value=0.5 + off))], subjects=()
        )
        assert "the items' mean is 0.5" in found


@pytest.mark.parametrize(("share", "sound"), [(0.0, True), (1.0, True), (-0.001, False), (1.001, False)])
def test_shares_lie_between_0_and_1_and_what_probes_say_lies_anywhere(share, sound):
    score = made_score(made_task(1), [share])
    if sound:
        assert Table([score], subjects=()).tasks
    else:
        assert refused(Table, [score], subjects=())[0][1] == "a share outside [0, 1]"
    assert Table([made_score(made_task(1, role=Role.PROBE), [share])], subjects=()).tasks


def test_whose_a_score_may_be():
    score = made_score(made_task(1), "1")
    assert Table([score], subjects=(BASE, CANDIDATE)).tasks
    assert refused(Table, [score], subjects=(BASE,))[0][1] == "a score of another model"
    assert [found for _, found in refused(Table, [score, score], subjects=(BASE,))] == [
        "a score of another model",
        "a score of another model",
        "two scores",
    ]
