from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.made_scores import made_limit, made_run, made_scores
from unlearn_guard.records import Check, Interval, Measurement, Outcome, Phrasing, Property
from unlearn_guard.reports import wording


def check(value=None, interval=None, **bounds):
    limit = made_limit("ptq_gap", precision="nf4", guards=Property.PERMANENCE, **bounds)
    if value is None:
        return Check(limit=limit, measurement=None)
    intervals = () if interval is None else (Interval(confidence=0.95, low=interval[0], high=interval[1]),)
    measurement = Measurement(
        subject="x", precision="nf4", task="forget_task", metric="ptq_gap", value=value, samples=9, intervals=intervals
    )
    return Check(limit=limit, measurement=measurement)


@pytest.mark.parametrize(
    ("value", "bound", "text"),
    [
        (0.15, 0.15, "0.150"),
        (0.1500001, 0.15, "0.1500001"),
        (0.1499999, 0.15, "0.1499999"),
        (0.15 + 3e-17, 0.15, "0.15000000000000002"),
        (-0.04, 0.0, "-0.040"),
        (1e-9, 0.0, "0.000000001"),
        (1e-30, 0.0, "1e-30"),
        (-0.0, 0.0, "0.000"),
        (-0.00001, 0.5, "0.000"),
    ],
)
def test_a_number_is_not_rounded_across_its_bound(value, bound, text):
    assert wording.number(value, bound) == text


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_what_is_printed_decides_as_what_was_measured(value, bound):
    text = float(wording.number(value, bound))
    assert (text <= bound) == (value <= bound)
    assert (text >= bound) == (value >= bound)


def test_bounds_say_their_level():
    assert wording.bounds(check(at_most=0.15).limit) == "<= 0.15"
    assert wording.bounds(check(at_least=0.3, confidence=0.95).limit) == ">= 0.3 (95 %)"
    assert wording.bounds(check(at_least=0.1, at_most=0.2).limit) == "0.1 to 0.2"


def test_values_and_margins():
    assert wording.value(check(at_most=0.0)) == "-"
    assert wording.margin(check(at_most=0.0)) == "-"
    assert wording.margin(check(0.05, at_most=0.0)) == "-0.050"
    assert wording.margin(check(-0.05, at_most=0.0)) == "+0.050"
    assert wording.value(check(0.1, (0.05, 0.15000001), at_most=0.15, confidence=0.95)) == "0.100 [0.050, 0.15000001]"


def test_hostile_names_are_spelt_out():
    assert wording.plain("a\x1b[31m\nb\u202e\x00\x9b") == r"a\x1b[31m\nb\u202e\x00\x9b"
    assert wording.plain("Zürich 東京 [bold]") == "Zürich 東京 [bold]"


def test_each_outcome_has_its_own_next_step():
    steps = {
        wording.next_step(check(0.1, at_most=0.0)),
        wording.next_step(check(at_most=0.0)),
        wording.next_step(check(0.0, (-0.1, 0.1), at_most=0.0, confidence=0.95)),
        wording.next_step(check(0.0, at_most=0.0, confidence=0.95)),
    }
    assert len(steps) == 4
    assert all(steps)
    assert wording.next_step(check(0.0, at_most=0.0)) == ""


def test_a_point_that_holds_by_noise_alone_says_what_is_left():
    made = {"subject": "x", "precision": "full", "task": "forget_task", "samples": 9}
    limit = made_limit("cad", at_least=0.8, guards=Property.ERASURE)
    noisy = Check(
        limit=limit,
        measurement=Measurement(metric="cad", value=0.88, **made),
        corrected=Measurement(metric="cad_corrected", value=0.5349, **made),
    )
    assert noisy.outcome is Outcome.INCONCLUSIVE
    assert "noise it is 0.535, beyond the bound" in wording.next_step(noisy)
    assert wording.margin(noisy) == "-0.265"


@pytest.mark.parametrize("precision", ["full", "nf4"])
def test_a_gap_between_dtypes_says_where_it_shows(precision):
    limit = made_limit("dtype_gap", precision=precision, at_most=0.1)
    assert "another dtype" in wording.mend(limit, "quiz_forget")
    assert "quiz_forget" in wording.mend(limit, "quiz_forget")


@pytest.mark.parametrize("guards", list(Property))
def test_every_property_has_a_remedy(guards):
    limit = made_limit("m", at_most=0.0, guards=guards)
    measurement = Measurement(subject="x", precision="full", task="forget_task", metric="m", value=1.0, samples=1)
    failed = Check(limit=limit, measurement=measurement)
    assert failed.outcome is Outcome.FAILED
    assert len(wording.next_step(failed)) > 20


@pytest.mark.parametrize(
    ("run", "start", "said"),
    [
        (made_run()[0], "PASSED:", "3 limits"),
        (made_run(scores=made_scores(forget_nf4=90))[0], "FAILED:", "ptq_gap[forget_task-nf4]"),
        (made_run(scores=made_scores()[:2])[0], "NOT ESTABLISHED:", "2 never measured"),
        (made_run(complete=False)[0], "NOT ESTABLISHED:", "only 10 items"),
        (made_run(limits=(made_limit("forget_drop", at_least=0.77, confidence=0.95),))[0], "NOT EST", "inconclusive"),
    ],
)
def test_the_headline_is_the_verdict(run, start, said):
    assert wording.headline(run).startswith(start)
    assert said in wording.headline(run)
    assert wording.headline(run).endswith(" One phrasing asked.")


def test_the_headline_of_a_suite_with_a_held_out_phrasing_says_nothing_of_it():
    run = made_run()[0]
    first, *others = run.tasks
    both = replace(run, tasks=(replace(first, phrasing=Phrasing.HELD_OUT), *others))
    assert wording.headline(both) == "PASSED: every one of 3 limits held."
