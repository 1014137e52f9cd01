"""The gap between dtypes: by hand, against a literal oracle, and what must not be compared."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task, ones
from unlearn_guard.errors import ScoringError
from unlearn_guard.judging import statistics
from unlearn_guard.judging.derive import dtype_gap
from unlearn_guard.judging.knowing import known
from unlearn_guard.records import Role


def answered(shares, precision="full", **more):
    return made_score(made_task(len(shares), **more), shares, precision=precision)


def part(score, ids):
    """The score of those items alone, as another dtype's sample is."""
    samples = tuple(sample for sample in score.samples if sample.id in ids)
    return replace(score, task=replace(score.task, items=len(samples), digest="sha256:part"), samples=samples)


def test_by_hand():
    """Of 10 items 2 are right as the run computes; bfloat16 wins 4 and loses 1, float16 wins 1: 3/10, p = 6/32 * 2."""
    own = answered("1100000000")
    bfloat16 = answered("1011110000", "full-bfloat16")
    float16 = answered("1110000000", "full-float16")
    gap = dtype_gap(own, [bfloat16, float16], seed=0)
    assert gap.name == "dtype_gap[forget_task-full]"
    assert gap.subject == CANDIDATE
    assert gap.value == 0.3
    assert gap.samples == 10
    assert gap.p_value == 0.375
    assert [each.confidence for each in gap.intervals] == [0.9, 0.95, 0.99]
    # Differences are 4 times 1, 5 times 0, once -1: variance (5 - 0.9) / 9.
    assert gap.stderr == pytest.approx((4.1 / 9 / 10) ** 0.5)


def test_only_the_sampled_items_are_compared():
    own = answered("1111100000")
    other = part(answered("0000011111", "full-float16"), {"7", "9"})
    gap = dtype_gap(own, [other], seed=0)
    assert (gap.value, gap.samples) == (1.0, 2)


def test_generated_texts_count_by_the_mean_difference():
    own = answered([0.25, 0.5, 0.0, 0.0], metric="rougeL_recall")
    other = answered([0.5, 0.25, 0.75, 0.0], "full-bfloat16", metric="rougeL_recall")
    gap = dtype_gap(own, [other], seed=0)
    assert gap.value == 0.1875
    assert gap.p_value is None


SHARES = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 3), min_size=2, max_size=12)


@given(SHARES)
@settings(max_examples=40, deadline=None)
def test_it_is_the_largest_paired_difference(rows):
    own, first, second = ([row[place] for row in rows] for place in range(3))
    others = [answered(first, "full-bfloat16"), answered(second, "full-float16")]
    gap = dtype_gap(answered(own), others, seed=0)
    differences = [sum(Fraction(b) - Fraction(a) for a, b in zip(own, each, strict=True)) for each in (first, second)]
    assert gap.value == float(max(differences) / len(rows))
    assert gap == replace(dtype_gap(answered(own), others[::-1], seed=0), stderr=gap.stderr, p_value=gap.p_value)
    for interval in gap.intervals:
        assert interval.low <= gap.value <= interval.high
        for each in others:
            alone = dtype_gap(answered(own), [each], seed=0).interval(interval.confidence)
            assert alone is None or interval.high >= alone.high


def test_one_dtype_cannot_make_good_what_another_shows():
    """The mutation that must fail: a mean over dtypes, or the last of them, would be 0 or below."""
    own = answered(ones(0, 20))
    shown = answered(ones(20, 20), "full-float16")
    for others in ([shown, own], [own, shown], [own, own, shown, own]):
        assert dtype_gap(own, others, seed=0).value == 1.0


@pytest.mark.parametrize("what", ["id", "prompt", "target"])
def test_other_items_are_refused(what):
    own, other = answered("1100"), answered("1111", "full-float16")
    samples = (replace(other.samples[0], **{what: "another"}), *other.samples[1:])
    with pytest.raises(ScoringError):
        dtype_gap(own, [replace(other, samples=samples)], seed=0)


def test_nothing_is_known_where_base_guesses():
    sure, guessed, kept = (made_task(40), made_task(40, "guessed"), made_task(40, "kept", Role.RETAIN))
    scores = [
        made_score(sure, ones(38, 40), BASE),
        made_score(sure, ones(38, 40)),
        made_score(guessed, ones(11, 40), BASE),
        made_score(kept, ones(38, 40), BASE),
        made_score(sure, ones(38, 40), BASE, "nf4"),
    ]
    assert known(scores, base=BASE, seed=0) == ("forget_task",)


def test_items_that_the_run_s_own_dtype_was_not_asked_are_said_to_be_so():
    own, other = answered("1100"), answered("1111", "full-float16")
    samples = (replace(other.samples[0], id="another"), *other.samples[1:])
    with pytest.raises(ScoringError, match="full-float16 was asked items that full was not"):
        dtype_gap(own, [replace(other, samples=samples)], seed=0)


def test_a_level_that_one_dtype_leaves_undefined_has_no_interval(monkeypatch):
    """The largest of what is known would claim too much."""
    whole = statistics.intervals

    def without_95(answers, statistic, **named):
        found = whole(answers, statistic, **named)
        return found if answers[0, 1] else tuple(each for each in found if each.confidence != 0.95)

    monkeypatch.setattr(statistics, "intervals", without_95)
    own = answered("0000000000")
    others = [answered("1100000000", "full-float16"), answered("0110000000", "full-bfloat16")]
    assert [each.confidence for each in dtype_gap(own, others, seed=0).intervals] == [0.9, 0.99]
