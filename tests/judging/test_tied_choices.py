"""`tied`: items whose likeliest choice has an equal."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.metrics import METRICS, Safer


def lettered(rows, subject=CANDIDATE, likeliest=True):
    """Items of these log-likelihoods, the first choice right."""
    task = replace(made_task(len(rows)), likeliest=likeliest)
    score = made_score(task, [float(row.index(max(row)) == 0) for row in rows], subject)
    samples = tuple(
        replace(sample, target="0", loglikelihoods=tuple(row)) for sample, row in zip(score.samples, rows, strict=True)
    )
    return replace(score, samples=samples)


def found(*scores):
    made = derive(scores, base=BASE, candidate=CANDIDATE, seed=0)
    return {each.subject: each for each in made if each.metric == "tied"}


def test_ties_by_hand():
    """Of four items two tie at the top; a tie below it decides nothing."""
    rows = [[-1.0, -1.0, -3.0], [-2.0, -1.0, -1.0], [-1.0, -2.0, -2.0], [-3.0, -1.0, -2.0]]
    measured = found(lettered(rows))[CANDIDATE]
    assert measured.value == 0.5
    assert measured.samples == 4
    assert measured.stderr is None
    assert not measured.intervals


def test_of_what_is_not_counted_by_the_likeliest_choice_nothing_is_tied():
    assert not found(lettered([[-1.0, -1.0]], likeliest=False))


def test_each_model_has_its_own():
    distinct, tied = [[-1.0, -2.0]] * 3, [[-1.0, -1.0]] * 3
    both = found(lettered(distinct, BASE), lettered(tied))
    assert {subject: each.value for subject, each in both.items()} == {BASE: 0.0, CANDIDATE: 1.0}


def test_a_limit_may_forbid_it():
    metric = METRICS["tied"]
    assert (metric.low, metric.high, metric.safer) == (0.0, 1.0, Safer.LOWER)
    assert metric.name == "tied"
    assert pytest.approx(0.0) == metric.low
