from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_scores, made_task, ones
from unlearn_guard.errors import ScoringError
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.knowing import unknown
from unlearn_guard.records import Role


def named(scores):
    return {m.name: m for m in derive(scores, base=BASE, candidate=CANDIDATE, seed=0) if m.subject == CANDIDATE}


def quantities(found):
    """All but the count of truncated items, which stands beside every score."""
    return {name for name in found if not name.startswith("truncated")}


def forget(base, full, quantized=None, *, items=20, chance=0.25, precision="nf4"):
    task = made_task(items, chance=chance)
    scores = [made_score(task, ones(base, items), BASE), made_score(task, ones(full, items))]
    return scores if quantized is None else [*scores, made_score(task, ones(quantized, items), precision=precision)]


def test_the_design_quantities_by_hand():
    """Of 20 items base knows 16, the candidate 6, its NF4 self 8; chance 1/4."""
    found = named(forget(16, 6, 8))
    assert found["forget_drop[forget_task-full]"].value == pytest.approx(10 / 16)
    assert found["forget_drop[forget_task-nf4]"].value == pytest.approx(8 / 16)
    assert found["ptq_gap[forget_task-nf4]"].value == pytest.approx(2 / 20)
    assert found["above_chance_removed[forget_task-full]"].value == pytest.approx(0.5 / 0.55)
    assert found["above_chance_removed[forget_task-nf4]"].value == pytest.approx(0.4 / 0.55)
    assert found["recovery[forget_task-nf4]"].value == pytest.approx(2 / 10)
    assert "ptq_gap[forget_task-full]" not in found
    assert found["recovery[forget_task-nf4]"].p_value == 0.5, "of the candidate and its own NF4 self, as the gap's"
    assert found["ptq_gap[forget_task-nf4]"].p_value == 0.5


@given(counts=st.lists(st.integers(20, 160), min_size=3, max_size=3))
@example(counts=[160, 136, 136])  # 1.0 - 0.85 in floats is more than 0.15, and 24 of 160 are not
@example(counts=[160, 112, 112])
@settings(max_examples=30, deadline=None)
def test_a_quantity_is_the_float_nearest_to_the_exact_one(counts):
    """So that a limit which is met exactly holds: the number in the policy is rounded in the same way."""
    base, full, quantized = counts
    kept = made_task(160, "kept", Role.RETAIN, chance=0.05)
    scores = forget(base, full, quantized, items=160, chance=0.05)
    scores += [made_score(kept, ones(base, 160), BASE), made_score(kept, ones(full, 160))]
    found = named(scores)
    exact = {
        "forget_drop[forget_task-full]": Fraction(base - full, base),
        "forget_drop[forget_task-nf4]": Fraction(base - quantized, base),
        "ptq_gap[forget_task-nf4]": Fraction(quantized - full, 160),
        "retain_drop[kept-full]": Fraction(base - full, 160),
    }
    for name, value in exact.items():
        assert found[name].value == float(value), name


def test_a_gap_of_fractions_is_not_lost_in_their_sum():
    """Shares, as ROUGE has: one item regains 2^-53 of itself, which sums of floats do not show."""
    task = made_task(40)
    before = [0.5] * 40
    after = [0.5 + 2**-53, *before[1:]]
    assert sum(after) == sum(before)
    scores = [made_score(task, ones(40, 40), BASE), made_score(task, before), made_score(task, after, precision="nf4")]
    assert named(scores)["ptq_gap[forget_task-nf4]"].value == 2**-53 / 40


def test_positive_gap_means_that_knowledge_came_back():
    assert named(forget(18, 5, 18))["ptq_gap[forget_task-nf4]"].value > 0
    assert named(forget(18, 5, 2))["ptq_gap[forget_task-nf4]"].value < 0


def test_retain_drop_compares_at_the_same_precision():
    task = made_task(20, "kept", Role.RETAIN)
    scores = [
        made_score(task, ones(20, 20), BASE),
        made_score(task, ones(18, 20)),
        made_score(task, ones(16, 20), BASE, "nf4"),
        made_score(task, ones(15, 20), precision="nf4"),
    ]
    found = named(scores)
    assert found["retain_drop[kept-full]"].value == pytest.approx(0.10)
    assert found["retain_drop[kept-nf4]"].value == pytest.approx(0.05)
    assert not [name for name in named(scores[:2] + scores[3:]) if name.startswith("retain_drop[kept-nf4")]


def test_every_score_gets_its_error():
    found = derive(made_scores(), base=BASE, candidate=CANDIDATE, seed=0)
    scores = [m for m in found if m.metric == "acc"]
    assert len(scores) == 5
    assert all(m.stderr is not None and len(m.intervals) == 3 for m in scores)
    assert {m.subject for m in scores} == {BASE, CANDIDATE}
    base = next(m for m in scores if m.subject == BASE and m.task == "forget_task")
    assert base.value == 0.9
    assert base.stderr == pytest.approx((0.9 * 0.1 / 99) ** 0.5)


def test_the_same_scores_give_the_same_measurements():
    assert derive(made_scores(), base=BASE, candidate=CANDIDATE, seed=4) == derive(
        made_scores(), base=BASE, candidate=CANDIDATE, seed=4
    )


def test_nothing_comes_of_a_base_that_knows_nothing():
    """A drop from 0, or from what guessing gives, is noise: its limits stay unmeasured and never pass."""
    for base in (0, 5, 7):
        found = named(forget(base, 0, 0))
        assert quantities(found) == {"acc[forget_task-full]", "acc[forget_task-nf4]"}
    (note,) = unknown(forget(5, 0, 0), base=BASE, seed=0)
    assert "forget_task" in note
    assert "chance" in note
    assert unknown(forget(18, 0, 0), base=BASE, seed=0) == ()


def test_a_destroyed_base_proves_no_retention():
    task = made_task(40, "kept", Role.RETAIN)
    found = named([made_score(task, ones(10, 40), BASE), made_score(task, ones(10, 40))])
    assert not any(name.startswith("retain_drop") for name in found)


def test_recovery_is_undefined_when_nothing_was_removed():
    assert "recovery[forget_task-nf4]" not in named(forget(18, 18, 18))
    assert "recovery[forget_task-nf4]" not in named(forget(18, 19, 18))


def test_which_quantities_come_out_follows_from_what_goes_in():
    scores = forget(18, 5, 6)
    assert quantities(named(scores[1:])) == {"acc[forget_task-full]", "acc[forget_task-nf4]"}, "base was not asked"
    assert "ptq_gap[forget_task-nf4]" not in named([scores[0], scores[2]])
    assert "forget_drop[forget_task-nf4]" in named([scores[0], scores[2]])


def test_items_are_paired_by_id_not_by_place():
    scores = forget(16, 6, 8)
    shuffled = replace(scores[2], samples=tuple(reversed(scores[2].samples)))
    gap = named([*scores[:2], shuffled])["ptq_gap[forget_task-nf4]"]
    assert gap.p_value == 0.5  # by place, 14 items would seem to have changed
    assert gap.stderr == named(scores)["ptq_gap[forget_task-nf4]"].stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "elsewhere"}, "missing: item 3"),
        ({"prompt": "other"}, "another prompt: item 3"),
        ({"target": "B"}, "another target: item 3"),
    ],
)
def test_other_items_are_an_error_never_an_intersection(change, said):
    scores = forget(16, 6, 8)
    samples = list(scores[1].samples)
    samples[3] = replace(samples[3], **change)
    with pytest.raises(ScoringError, match=said):
        named([scores[0], replace(scores[1], samples=tuple(samples))])


def test_what_a_score_contradicts_in_itself_is_an_error():
    task = made_task(4)
    score = made_score(task, "1100")
    twice = replace(score, samples=(score.samples[0], *score.samples[:3]))
    for wrong, said in (
        (twice, "answered twice"),
        (replace(score, measurement=replace(score.measurement, value=0.75)), "mean"),
        (made_score(task, [100, 0, 0, 0]), "never percent"),
        (replace(score, precision="nf4"), "the score's own"),
        (made_score(task, "1100", subject="sha256:other"), "another model"),
    ):
        with pytest.raises(ScoringError, match=said):
            named([wrong])


def test_two_scores_of_one_thing_are_an_error():
    with pytest.raises(ScoringError, match="two scores"):
        named([*forget(16, 6), *forget(16, 6)])


def test_another_rendering_is_an_error():
    scores = forget(16, 6)
    other = replace(scores[1], task=replace(scores[1].task, digest="sha256:other"))
    with pytest.raises(ScoringError, match="another rendering"):
        named([scores[0], other])


def test_one_model_cannot_be_compared_with_itself():
    with pytest.raises(ScoringError, match="same digest"):
        derive([], base=BASE, candidate=BASE, seed=0)


def test_fractions_work_and_have_no_mcnemar():
    task = made_task(40, "rouge_task", chance=0.0, metric="rougeL")
    scores = [made_score(task, [0.8, 0.9] * 20, BASE), made_score(task, [0.1, 0.3] * 20)]
    found = named(scores)
    drop = found["forget_drop[rouge_task-full]"]
    assert drop.value == pytest.approx(1 - 0.2 / 0.85)
    assert drop.p_value is None
    assert len(drop.intervals) == 3
    assert "rougeL[rouge_task-full]" in found


def test_truncated_items_are_counted_beside_every_score():
    scores = forget(16, 6, 8)
    found = named([scores[0], replace(scores[1], truncated=3), scores[2]])
    assert found["truncated[forget_task-full]"].value == 3
    assert found["truncated[forget_task-nf4]"].value == 0
    assert found["truncated[forget_task-full]"].samples == 20
