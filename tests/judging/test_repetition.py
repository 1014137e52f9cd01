"""`repetition`: how much of its answers a model has written before."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task
from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.metrics import METRICS, Safer
from unlearn_guard.judging.resolving import resolve_limits
from unlearn_guard.judging.thresholds import policy_of


def measured(*texts, written=True):
    task = replace(made_task(len(texts)), written=written)
    score = made_score(task, [1.0] * len(texts))
    samples = [replace(each, loglikelihoods=None, text=text) for each, text in zip(score.samples, texts, strict=True)]
    found = derive([replace(score, samples=tuple(samples))], base=BASE, candidate=CANDIDATE, seed=0)
    return next((each.value for each in found if each.metric == "repetition"), None)


def oracle(text):
    """Run by run, each held against all before it."""
    words, seen, again = text.split(), [], 0
    for at in range(len(words) - 3):
        run = words[at : at + 4]
        again += run in seen
        seen.append(run)
    return again / len(seen) if seen else 0.0


def test_repetition_by_hand():
    """`a b` four times has five runs of four words, of which two are different."""
    assert measured("a b a b a b a b") == pytest.approx(3 / 5)
    assert measured("a b a b a b a b", "all of this is said but once") == pytest.approx(3 / 10)
    assert measured("", "three words only") == 0.0


@pytest.mark.parametrize("text", ["x " * 50, "the cat sat on the mat the cat sat on the mat again", "a\nb c  d e"])
def test_repetition_equals_the_oracle(text):
    assert measured(text) == pytest.approx(oracle(text))


def test_of_what_is_not_answered_in_words_there_is_none():
    assert measured("a b a b a b", written=False) is None
    assert METRICS["repetition"].safer is Safer.LOWER


def test_a_limit_is_on_tasks_that_are_answered_in_words():
    """`@forget` leaves out what is not; named alone it is refused."""
    words, letters = (replace(made_task(4, name), written=name == "words") for name in ("words", "letters"))

    def limits(task):
        rule = f'{{metric: repetition, task: "{task}", precision: full, at_most: 0.2, because: x}}'
        text = f"version: 1\nlimits:\n  - {rule}\n"
        return [each.task for each in resolve_limits(policy_of(text, name="p.yaml"), [words, letters], ("full",))]

    assert limits("@forget") == ["words"]
    with pytest.raises(PolicyError, match="tasks answered in words"):
        limits("letters")
