"""Measures of probes: by hand, against the slow oracle, and what must not pass."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from tests.oracles import muse_and_tofu_by_hand as oracle
from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task, ones
from unlearn_guard.errors import PolicyError, ScoringError
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.draft import read_draft
from unlearn_guard.judging.knowing import unknown
from unlearn_guard.judging.membership import auc
from unlearn_guard.judging.probes import harmonic_mean
from unlearn_guard.judging.resolving import resolve_limits
from unlearn_guard.records import Interval, Role

RETRAINED = "sha256:retrained"


def leak(forget, unseen, subject=CANDIDATE, precision="full", retrained=0.5):
    """A privleak probe with these surprises."""
    count = len(forget) + len(unseen)
    task = replace(made_task(count, "leak", Role.PROBE, 0.0, "min_k"), measure="privleak", retrained=retrained)
    score = made_score(task, [*forget, *unseen], subject, precision)
    names = [f"leak_forget-{i}" for i in range(len(forget))] + [f"leak_holdout-{i}" for i in range(len(unseen))]
    samples = tuple(replace(sample, id=name) for sample, name in zip(score.samples, names, strict=True))
    return replace(score, samples=samples)


def quality(ratios, subject=CANDIDATE, precision="full"):
    task = replace(made_task(len(ratios), "truths", Role.PROBE, 0.0, "truth_ratio"), measure="forget_quality")
    return made_score(task, ratios, subject, precision)


def named(scores, retrained=None, subject=CANDIDATE):
    found = derive(scores, base=BASE, candidate=CANDIDATE, seed=0, retrained=retrained)
    return {each.name: each for each in found if each.subject == subject and each.metric != "truncated"}


def test_auc_by_hand():
    """Of the six pairs, 3 > 2, 3 = 3 and 1 < all: 1 + 1/2 of 6."""
    value, placed_N, placed_M = auc(np.array([3.0, 1.0]), np.array([2.0, 3.0, 4.0]))
    assert value == pytest.approx(1.5 / 6)
    assert placed_N.tolist() == pytest.approx([0.5, 0.0])
    assert placed_M.tolist() == pytest.approx([0.5, 0.25, 0.0])


def test_auc_equals_the_oracle():
    draw = random.Random(0)
    for _ in range(20):
        forget, unseen = ([draw.randrange(6) / 2 for _ in range(draw.randrange(2, 9))] for _ in range(2))
        assert auc(np.array(forget), np.array(unseen))[0] == pytest.approx(oracle.auc(forget, unseen))


def test_privleak_by_hand():
    """AUC 1/4 against 1/2 is half of it away: -50; remembered -100, avoided +100."""
    assert named([leak([1.0, 3.0], [2.0, 4.0])])["privleak[leak-full]"].value == pytest.approx(-50.0)
    assert named([leak([1.0, 1.1], [2.0, 4.0])])["privleak[leak-full]"].value == -100.0
    assert named([leak([5.0, 6.0], [2.0, 4.0])])["privleak[leak-full]"].value == 100.0
    assert named([leak([5.0, 6.0], [2.0, 4.0], retrained=0.4)])["privleak[leak-full]"].value == pytest.approx(150.0)


def test_the_retrained_model_is_the_reference_where_there_is_one():
    scores = [leak([1.0, 3.0], [2.0, 4.0]), leak([1.0, 3.0], [2.0, 4.0], RETRAINED)]
    assert named(scores, RETRAINED)["privleak[leak-full]"].value == 0.0
    assert named([leak([1.0], [2.0], retrained=None)]).keys() == {"min_k[leak-full]"}, "no reference, no number"


def test_the_error_of_privleak_is_delongs():
    """By hand: places of forgotten texts 1, 1/2, 0 (variance 1/4), of unseen ones 2/3, 1/3 (variance 1/18)."""
    found = named([leak([9.0, 3.0, 1.0], [2.0, 4.0])])["privleak[leak-full]"]
    assert found.stderr == pytest.approx(200 * (0.25 / 3 + (1 / 18) / 2) ** 0.5)


def test_both_aucs_are_resampled_on_the_same_texts():
    """A candidate that answers as the retrained model does is 0, whatever texts are drawn: no width at all.

    With the retrained AUC taken as known the interval of the same answers is tens of points wide.
    """
    draw = random.Random(7)
    forget, unseen = ([draw.gauss(0, 1) + 10 for _ in range(40)] for _ in range(2))
    same = named([leak(forget, unseen), leak(forget, unseen, RETRAINED)], RETRAINED)["privleak[leak-full]"]
    assert same.value == 0.0
    assert same.stderr == pytest.approx(0.0, abs=1e-9)
    assert (same.interval(0.95).low, same.interval(0.95).high) == pytest.approx((0.0, 0.0), abs=1e-9)
    known = named([leak(forget, unseen)])["privleak[leak-full]"].interval(0.95)
    assert known.high - known.low > 20
    apart = [each + draw.gauss(0, 1) for each in forget]
    other = named([leak(apart, unseen), leak(forget, unseen, RETRAINED)], RETRAINED)["privleak[leak-full]"]
    width = other.interval(0.95).high - other.interval(0.95).low
    assert width == pytest.approx(2 * 1.96 * other.stderr, rel=0.15), "the delta method and the bootstrap agree"
    assert width > 5


def test_a_reference_that_was_asked_other_texts_is_refused():
    odd = leak([1.0, 3.0], [2.0, 4.0], RETRAINED)
    odd = replace(odd, samples=tuple(reversed(odd.samples)))
    with pytest.raises(ScoringError):
        named([leak([1.0, 3.0], [2.0, 4.0]), odd], RETRAINED)


def test_a_hundred_texts_decide_little():
    """As docs/published.md says, of 100 and 100 texts that nobody can tell apart."""
    auc_error = (1 / 12 * (1 / 100 + 1 / 100)) ** 0.5
    assert 100 / 0.4772 * auc_error == pytest.approx(8.6, abs=0.05)
    assert 100 / 0.5393 * auc_error == pytest.approx(7.6, abs=0.05)
    assert pytest.approx(281, abs=2) == 100 * (1.96 * 8.56 / 10) ** 2
    assert pytest.approx(1126, abs=6) == 100 * (1.96 * 8.56 / 5) ** 2


def test_the_intervals_cover_and_have_width_even_at_the_end():
    draw = random.Random(1)
    inside = 0
    for trial in range(30):
        forget, unseen = ([draw.gauss(0, 1) for _ in range(40)] for _ in range(2))
        interval = named([leak([f + 10 for f in forget], [u + 10 for u in unseen])])["privleak[leak-full]"].interval(
            0.95
        )
        inside += interval.low <= 0.0 <= interval.high
        assert trial or interval.high - interval.low > 20
    assert inside >= 25
    leaked = named([leak([1.0] * 30, [2.0] * 30)])["privleak[leak-full]"].interval(0.95)
    assert leaked.low == -100.0
    assert leaked.high > -80.0


def test_intervals_at_an_end_reach_what_was_not_seen_in_so_many_texts():
    """Thirty a side: what none of them showed may still happen in 1 - 0.025^(1/30) of the cases, 0.1157."""
    unseen = 1 - 0.025 ** (1 / 30)
    remembered = named([leak([1.0] * 30, [2.0] * 40)])["privleak[leak-full]"].interval(0.95)
    assert (remembered.low, remembered.high) == pytest.approx((-100.0, 200 * (unseen - 0.5)))
    avoided = named([leak([3.0] * 40, [2.0] * 30)])["privleak[leak-full]"].interval(0.95)
    assert (avoided.low, avoided.high) == pytest.approx((200 * (0.5 - unseen), 100.0))


def test_ties_count_half_in_every_resample():
    """All texts surprise alike: whatever is drawn, nobody can tell them apart."""
    for interval in named([leak([1.0, 1.0], [1.0, 1.0])])["privleak[leak-full]"].intervals:
        assert (interval.low, interval.high) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_intervals_between_the_ends_are_as_wide_as_delongs_error_says():
    draw = random.Random(3)
    forget, unseen = ([draw.gauss(0, 1) for _ in range(150)] for _ in range(2))
    found = named([leak([f + 10 for f in forget], [u + 10 for u in unseen])])["privleak[leak-full]"]
    for interval, sigmas in zip(found.intervals, (1.645, 1.960, 2.576), strict=True):
        assert (interval.high - interval.low) / (2 * sigmas * found.stderr) == pytest.approx(1.0, abs=0.04)
        assert (interval.high + interval.low) / 2 == pytest.approx(found.value, abs=found.stderr / 5)


def test_an_interval_of_privleak_that_is_given_is_taken():
    taken = (Interval(confidence=0.95, low=-9.0, high=9.0),)
    given = {"sha256:candidate privleak[leak-full]": taken}
    scores = [leak([1.0, 3.0], [2.0, 4.0]), leak([1.0, 3.0], [2.0, 4.0], BASE)]
    found = derive(scores, base=BASE, candidate=CANDIDATE, seed=0, given=given)
    assert [len(each.intervals) for each in found if each.metric == "privleak"] == [3, 1]


def test_one_text_of_a_side_has_no_error():
    for forget, unseen in (([1.0], [2.0, 0.5]), ([1.0, 3.0], [2.0])):
        found = named([leak(forget, unseen)])["privleak[leak-full]"]
        assert (found.value, found.stderr, found.intervals) == (0.0, None, ())


def test_a_retrained_model_that_remembers_all_is_no_reference():
    scores = [leak([1.0, 3.0], [2.0, 4.0]), leak([1.0, 1.0], [2.0, 4.0], RETRAINED)]
    assert "privleak[leak-full]" not in named(scores, RETRAINED)


def test_the_side_is_the_end_of_the_task_s_name_whatever_hyphens_it_has():
    score = leak([1.0, 3.0], [2.0, 4.0])
    samples = tuple(replace(sample, id=f"my-own-{sample.id}") for sample in score.samples)
    assert named([replace(score, samples=samples)])["privleak[leak-full]"].value == pytest.approx(-50.0)


def test_every_precision_has_its_own_number_and_no_drop_is_derived_from_a_probe():
    scores = [leak([1.0, 3.0], [2.0, 4.0]), leak([1.0, 1.5], [2.0, 4.0], precision="nf4"), leak([1, 1], [2, 2], BASE)]
    found = named(scores)
    assert set(found) == {"min_k[leak-full]", "min_k[leak-nf4]", "privleak[leak-full]", "privleak[leak-nf4]"}
    assert found["privleak[leak-nf4]"].value == -100.0
    assert named(scores, subject=BASE)["privleak[leak-full]"].value == -100.0
    assert not unknown(scores, base=BASE, seed=0)


def test_a_probe_without_unseen_texts_is_refused():
    with pytest.raises(ScoringError, match="2 forgotten and 0 unseen"):
        named([leak([1.0, 2.0], [])])


def test_forget_quality_equals_the_oracle():
    draw = random.Random(2)
    for sizes in itertools.product((7, 9), repeat=2):
        one, other = ([draw.random() * 3 for _ in range(size)] for size in sizes)
        found = named([quality(one), quality(other, RETRAINED)], RETRAINED) if sizes[0] == sizes[1] else None
        if found is None:
            from scipy.stats import ks_2samp

            assert ks_2samp(one, other).pvalue == pytest.approx(oracle.ks_p(one, other))
        else:
            assert found["forget_quality[truths-full]"].value == pytest.approx(oracle.ks_p(one, other))


def test_forget_quality_by_hand():
    """Seven values all below seven others: 2 of the 3432 ways to split fourteen are as far apart."""
    low, high = [each / 10 for each in range(1, 8)], [float(each) for each in range(1, 8)]
    found = named([quality(low), quality(high, RETRAINED)], RETRAINED)
    assert found["forget_quality[truths-full]"].value == pytest.approx(2 / 3432)
    assert found["forget_truth_ratio[truths-full]"].value == pytest.approx(0.4)
    same = named([quality(high), quality(high, RETRAINED)], RETRAINED)
    assert same["forget_quality[truths-full]"].value == 1.0
    assert named([quality([1.0, 2.0, 4.0])])["forget_truth_ratio[truths-full]"].value == pytest.approx(1.75 / 3)
    assert "forget_quality[truths-full]" not in named([quality([1.0, 2.0])])
    assert named([quality([0.0, 2.0])])["forget_truth_ratio[truths-full]"].value == 0.25, "nothing left of the truth"


@pytest.mark.parametrize("items", [1, 3, 6])
def test_too_few_items_have_no_forget_quality(items):
    """Of three items each, two models without any overlap have p = .1: a limit at .05 would hold whatever they said."""
    found = named([quality([0.1] * items), quality([5.0] * items, RETRAINED)], RETRAINED)
    assert "forget_quality[truths-full]" not in found
    assert "forget_truth_ratio[truths-full]" in found


def test_model_utility_is_the_harmonic_mean():
    assert harmonic_mean([0.5, 0.25]) == pytest.approx(1 / 3)
    assert harmonic_mean([0.9, 0.0]) == 0.0
    tasks = [replace(made_task(20, name, Role.RETAIN), measure="model_utility") for name in ("one", "two")]
    scores = [made_score(task, ones(right, 20)) for task, right in zip(tasks, (10, 5), strict=True)]
    assert named(scores)["model_utility[suite-full]"].value == pytest.approx(1 / 3)
    part = [*scores, made_score(tasks[0], ones(10, 20), precision="nf4")]
    assert "model_utility[suite-nf4]" not in named(part), "one of its tasks was not asked"


POLICY = "version: 1\nlimits:\n  - {metric: METRIC, task: TASK, precision: full, at_least: LOW, because: x}\n"


def limits(metric, task, low, tasks):
    text = POLICY.replace("METRIC", metric).replace("TASK", task).replace("LOW", str(low))
    return resolve_limits(read_draft(text, name="p.yaml", digest="d"), tasks, ("full", "nf4"))


def suite_tasks():
    return [
        made_task(9, "gone"),
        replace(made_task(9, "kept", Role.RETAIN), measure="model_utility"),
        leak([1.0], [2.0]).task,
        quality([1.0]).task,
    ]


@pytest.mark.parametrize(
    ("metric", "task", "low"),
    [
        ("privleak", "leak", -25),
        ("privleak", "leak", -100),
        ("min_k", "leak", 3.5),
        ("forget_quality", "truths", 0.05),
        ("forget_truth_ratio", "truths", 0.5),
        ("model_utility", "suite", 0.5),
        ("truncated", "gone", 0),
        ("truncated", "leak", 0),
    ],
)
def test_a_policy_may_limit_every_measure(metric, task, low):
    (limit,) = limits(metric, task, low, suite_tasks())
    assert limit.id == f"{metric}[{task}-full]"


@pytest.mark.parametrize(
    ("metric", "task", "low", "expected"),
    [
        ("privleak", "gone", 0, "a forget task"),
        ("privleak", "truths", 0, "which this probe feeds"),
        ("forget_quality", "leak", 0.05, "which this probe feeds"),
        ("forget_drop", "leak", 0.3, "a probe task"),
        ("model_utility", "kept", 0.5, "task: suite"),
        ("forget_drop", "suite", 0.3, "a task of the suite"),
        ("forget_quality", "truths", 5, "0 to 1"),
        ("privleak", "leak", -101, "-100 to"),
    ],
)
def test_a_limit_that_nothing_produces_is_refused(metric, task, low, expected):
    with pytest.raises(PolicyError, match=expected):
        limits(metric, task, low, suite_tasks())


def test_utility_of_a_suite_without_it_is_refused():
    with pytest.raises(PolicyError, match="no task of the suite says"):
        limits("model_utility", "suite", 0.5, [made_task(9)])
