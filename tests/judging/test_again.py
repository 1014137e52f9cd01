"""Scores made again from answers, and what of a measurement must be the same number."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import CANDIDATE, made_score, made_task
from unlearn_guard.judging.again import score_of
from unlearn_guard.records import Sample

LIKELIEST = replace(made_task(1), likeliest=True)


def answer(target, nats, correct=1.0):
    return Sample(id="7", prompt="p", target=target, correct=correct, loglikelihoods=nats)


@pytest.mark.parametrize(
    ("target", "nats"), [("0", None), ("A", (-1.0, -2.0)), ("2", (-1.0, -2.0)), ("3", (-1.0, -2.0)), ("0", ())]
)
def test_a_choice_without_a_likelihood_cannot_be_counted(target, nats):
    with pytest.raises(ValueError, match=f"item 7 has no likelihood of choice {target}"):
        score_of(LIKELIEST, CANDIDATE, "full", (answer(target, nats),))


@pytest.mark.parametrize(("target", "correct"), [("0", 0.0), ("1", 1.0), ("0", 0.5)])
def test_a_choice_counted_otherwise_than_its_likelihoods_say_is_refused(target, correct):
    with pytest.raises(ValueError, match="item 7 is counted"):
        score_of(LIKELIEST, CANDIDATE, "full", (answer(target, (-1.0, -2.0), correct),))


def test_the_last_choice_counts_as_the_first_does_and_of_equals_the_first():
    for target, nats, correct in (("1", (-2.0, -1.0), 1.0), ("0", (-2.0, -1.0), 0.0), ("0", (-1.0, -1.0), 1.0)):
        score = score_of(LIKELIEST, CANDIDATE, "full", (answer(target, nats, correct),))
        assert score.measurement.value == correct


def test_a_score_by_hand():
    """1, 0, 0, 1/2: mean 3/8, deviations 5/8, 3/8, 3/8, 1/8, whose squares sum to 44/64."""
    task = made_task(4)
    found = score_of(task, CANDIDATE, "nf4", made_score(task, [1, 0, 0, 0.5]).samples)
    assert found.measurement.value == 0.375
    assert found.measurement.stderr == pytest.approx((44 / 64 / 3 / 4) ** 0.5)
    assert (found.measurement.samples, found.measurement.name) == (4, "acc[forget_task-nf4]")
    assert (found.subject, found.measurement.subject, found.precision) == (CANDIDATE, CANDIDATE, "nf4")
    two = made_task(2)
    assert score_of(two, CANDIDATE, "full", made_score(two, "10").samples).measurement.stderr == pytest.approx(0.5)
    one = score_of(made_task(1), CANDIDATE, "full", made_score(made_task(1), "1").samples)
    assert (one.measurement.value, one.measurement.stderr) == (1.0, None)
