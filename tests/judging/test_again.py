"""Scores made again from answers, and what of a measurement must be the same number."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_run, made_score, made_task, ones
from unlearn_guard.judging import again as again_module
from unlearn_guard.judging.again import EXACT, differences, from_answers, score_of
from unlearn_guard.judging.derive import derive, dtype_gap
from unlearn_guard.records import Interval, Measurement, Role, Sample

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


def test_no_answers_are_no_score():
    with pytest.raises(ValueError, match="0 answers to 1 items"):
        score_of(made_task(1), CANDIDATE, "full", ())


def by_name(measurements):
    return {(each.subject, each.name): each for each in measurements}


def test_what_a_run_measured_comes_of_its_answers_again():
    run, scores = made_run()
    again = from_answers(run, scores, {}, read=())
    assert again.measurements == tuple(each for each in run.measurements if each.metric != "truncated")
    assert again.taken == ()


def tampered(run):
    """Every interval a lie."""
    lie = (Interval(confidence=0.95, low=-9.0, high=9.0),)
    changed = tuple(replace(each, intervals=lie) if each.intervals else each for each in run.measurements)
    return replace(run, measurements=changed)


def drawn(again):
    """Whose intervals were not taken as written."""
    return {key for key, each in by_name(again.measurements).items() if each.intervals and each.intervals[0].low != -9}


def fractions():
    """A forget task of shares, as ROUGE gives, and a retain task of right and wrong."""
    task, kept = made_task(30, chance=0.0), made_task(60, "kept", Role.RETAIN)
    return (
        made_score(task, [0.8, 0.9] * 15, BASE),
        made_score(task, [0.1, 0.2] * 15),
        made_score(kept, ones(58, 60), BASE),
        made_score(kept, ones(57, 60)),
    )


LIMITS = (made_limit("forget_drop", at_least=0.3),)


def test_of_shares_only_what_a_limit_reads_and_base_s_own_is_drawn_anew():
    """Their intervals take long; those of right and wrong do not, and are always drawn."""
    run, scores = made_run(limits=LIMITS, scores=fractions())
    kept = {(BASE, "acc[kept-full]"), (CANDIDATE, "acc[kept-full]"), (CANDIDATE, "retain_drop[kept-full]")}
    own = {(BASE, "acc[forget_task-full]")}
    again = from_answers(tampered(run), scores, {}, read=())
    assert drawn(again) == kept | own
    assert again.taken == tuple(f"{each}[forget_task-full]" for each in ("above_chance_removed", "acc", "forget_drop"))
    again = from_answers(tampered(run), scores, {}, read={("forget_drop", "full")})
    assert drawn(again) == kept | own | {(CANDIDATE, "forget_drop[forget_task-full]")}
    assert "forget_drop[forget_task-full]" in from_answers(run, scores, {}, read={("forget_drop", "nf4")}).taken


def test_of_many_measurements_only_those_that_a_limit_reads_are_drawn_anew(monkeypatch):
    run, scores = made_run()
    monkeypatch.setattr(again_module, "MANY", len(run.measurements))
    assert from_answers(run, scores, {}, read=()).taken == ()
    monkeypatch.setattr(again_module, "MANY", len(run.measurements) - 1)
    again = from_answers(tampered(run), scores, {}, read={("ptq_gap", "nf4")})
    assert drawn(again) == {
        (BASE, "acc[forget_task-full]"),
        (BASE, "acc[retain_task-full]"),
        (CANDIDATE, "ptq_gap[forget_task-nf4]"),
    }
    assert "ptq_gap[forget_task-nf4]" not in again.taken


def test_the_gap_to_another_dtype_comes_of_its_answers_where_base_knows_the_task():
    run, scores = made_run()
    other = made_score(made_task(40), ones(12, 40), precision="full-bfloat16")
    elsewhere = {("forget_task", "full"): [other]}
    gap = from_answers(run, scores, elsewhere, read=()).measurements[-1]
    assert gap == dtype_gap(scores[1], [other], seed=0)
    nobody = {("forget_task", "gptq"): [other], ("retain_task", "full"): [other]}
    assert len(from_answers(run, scores, nobody, read=()).measurements) == len(
        from_answers(run, scores, {}, read=()).measurements
    )


def test_a_retrained_model_says_again_what_base_knows():
    """It scores what base does: nothing is derived of the task, neither a drop nor a gap."""
    run, scores = made_run()
    scores = (*scores, made_score(made_task(100), ones(90, 100), "sha256:retrained"))
    found = derive(scores, base=BASE, candidate=CANDIDATE, seed=0, retrained="sha256:retrained")
    run = replace(run, retrained=replace(run.base, digest="sha256:retrained"), measurements=found)
    other = made_score(made_task(40), ones(12, 40), precision="full-bfloat16")
    again = from_answers(run, scores, {("forget_task", "full"): [other]}, read=())
    assert again.measurements == tuple(each for each in found if each.metric != "truncated")
    assert not any(each.metric == "forget_drop" for each in again.measurements)


def test_of_two_dtypes_that_gain_the_same_the_recorded_one_stands():
    run, scores = made_run()
    one = made_score(made_task(100), "1" * 25 + "0" * 75, precision="full-float16")
    two = made_score(made_task(100), "0" * 5 + "1" * 25 + "0" * 70, precision="full-bfloat16")
    first, second = (dtype_gap(scores[1], order, seed=0) for order in ([one, two], [two, one]))
    assert first != second
    for recorded in (first, second):
        held = replace(run, measurements=(*run.measurements, recorded))
        again = from_answers(held, scores, {("forget_task", "full"): [one, two]}, read=())
        assert again.measurements[-1] == recorded
    bent = replace(run, measurements=(*run.measurements, replace(first, value=0.5)))
    assert from_answers(bent, scores, {("forget_task", "full"): [one, two]}, read=()).measurements[-1] == first


MEASURED = Measurement(
    subject=CANDIDATE,
    metric="cad",
    task="t",
    precision="full",
    value=0.5,
    samples=9,
    stderr=0.1,
    p_value=0.2,
    intervals=(Interval(confidence=0.95, low=0.4, high=0.6),),
)


@pytest.mark.parametrize(
    ("field", "value", "close"),
    [
        ("value", 0.6, 0.5 + 1e-12),
        ("stderr", 0.2, 0.1 + 1e-12),
        ("stderr", None, 0.1),
        ("p_value", 0.3, 0.2 - 1e-12),
        ("p_value", None, 0.2),
        ("samples", 8, 9),
        ("intervals", (), (Interval(confidence=0.95, low=0.4 + 1e-12, high=0.6 - 1e-12),)),
        ("intervals", (Interval(confidence=0.95, low=0.4, high=0.7),), MEASURED.intervals),
        ("intervals", (Interval(confidence=0.95, low=0.3, high=0.6),), MEASURED.intervals),
        ("intervals", (Interval(confidence=0.9, low=0.4, high=0.6),), MEASURED.intervals),
    ],
)
def test_what_differs_is_named_with_both_and_the_last_digits_do_not_count(field, value, close):
    ((named, written, derived),) = differences(replace(MEASURED, **{field: value}), MEASURED)
    assert named == field
    if field != "intervals":
        assert (written, derived) == (repr(value), repr(getattr(MEASURED, field)))
    assert written != derived
    assert len(list(differences(MEASURED, replace(MEASURED, **{field: value})))) == 1
    assert list(differences(replace(MEASURED, **{field: close}), MEASURED)) == []


@pytest.mark.parametrize("metric", sorted(EXACT))
def test_a_value_of_fractions_is_the_same_to_the_last_digit(metric):
    exact = replace(MEASURED, metric=metric)
    assert list(differences(exact, exact)) == []
    ((named, _, _),) = differences(replace(exact, value=0.5 + 1e-12), exact)
    assert named == "value"


def test_what_is_nowhere_is_the_same_as_nothing():
    bare = replace(MEASURED, stderr=None, p_value=None, intervals=())
    assert list(differences(bare, bare)) == []
