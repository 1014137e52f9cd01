import math
from dataclasses import replace

import pytest

from tests.oracles.made_scores import CANDIDATE, made_limit, made_run
from unlearn_guard.errors import ExitStatus, ScoringError
from unlearn_guard.judging.gate import exit_status, judge
from unlearn_guard.records import Interval, Measurement, Outcome


def measured(value, metric="retain_drop", subject=CANDIDATE, **kwargs):
    return Measurement(
        subject=subject, precision="full", task="forget_task", metric=metric, value=value, samples=100, **kwargs
    )


def outcome(limit, *measurements):
    return judge([limit], measurements, candidate=CANDIDATE, complete=True).checks[0].outcome


AT_MOST = made_limit("retain_drop", at_most=0.15)


@pytest.mark.parametrize(("value", "expected"), [(0.15, "passed"), (0.15 + 1e-15, "failed"), (-1.0, "passed")])
def test_points_are_compared_unrounded(value, expected):
    assert outcome(AT_MOST, measured(value)) == expected


@pytest.mark.parametrize(("value", "bound"), [(-1.7e308, 1.7e308), (1.7e308, -1.7e308)])
def test_a_margin_is_finite_and_keeps_its_sign(value, bound):
    for bounds in ({"at_least": bound}, {"at_most": bound}):
        (check,) = judge(
            [made_limit("retain_drop", **bounds)], [measured(value)], candidate=CANDIDATE, complete=True
        ).checks
        assert math.isfinite(check.margin)
        assert (check.margin > 0) is (check.outcome == "passed")


def test_both_bounds_count():
    limit = made_limit("retain_drop", at_least=0.1, at_most=0.2)
    assert [outcome(limit, measured(v)) for v in (0.05, 0.1, 0.15, 0.2, 0.25)] == [
        "failed", "passed", "passed", "passed", "failed"
    ]  # fmt: skip


def test_what_nobody_measured_is_unmeasured():
    others = (
        measured(0.0, subject="sha256:base"),
        measured(0.0, metric="forget_drop"),
        replace(measured(0.0), precision="nf4"),
        replace(measured(0.0), task="another"),
    )
    assert outcome(AT_MOST, *others) is Outcome.UNMEASURED
    assert outcome(AT_MOST) is Outcome.UNMEASURED


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.15, "passed"), (0.16, 0.2, "failed"), (0.1, 0.2, "inconclusive"), (0.15, 0.2, "inconclusive")],
)
def test_with_confidence_the_whole_interval_counts(low, high, expected):
    limit = made_limit("retain_drop", at_most=0.15, confidence=0.95)
    interval = Interval(confidence=0.95, low=low, high=high)
    assert outcome(limit, measured((low + high) / 2, intervals=(interval,))) == expected


def test_an_interval_at_another_level_does_not_count():
    limit = made_limit("retain_drop", at_most=0.15, confidence=0.99)
    found = measured(0.0, intervals=(Interval(confidence=0.95, low=0.0, high=0.0),))
    assert outcome(limit, found) is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("value", "without_noise", "expected"),
    [(0.88, 0.53, "inconclusive"), (0.88, 0.80, "passed"), (0.79, 0.95, "failed"), (0.88, None, "passed")],
)
def test_a_limit_on_a_point_holds_the_corrected_value_too(value, without_noise, expected):
    beside = [] if without_noise is None else [measured(without_noise, metric="cad_corrected")]
    limit = made_limit("cad", at_least=0.80)
    assert outcome(limit, measured(value, metric="cad"), *beside) == expected
    (check,) = judge([limit], [measured(value, metric="cad"), *beside], candidate=CANDIDATE, complete=True).checks
    assert (check.margin >= 0) is (expected == "passed")


def test_an_interval_is_of_the_corrected_value_already():
    limit = made_limit("cad", at_least=0.80, confidence=0.95)
    interval = Interval(confidence=0.95, low=0.81, high=1.2)
    found = measured(1.1, metric="cad", intervals=(interval,)), measured(0.5, metric="cad_corrected")
    assert outcome(limit, *found) is Outcome.PASSED
    assert outcome(limit, found[1]) is Outcome.UNMEASURED


def test_the_corrected_value_of_another_precision_changes_nothing():
    limit, other = made_limit("cad", at_least=0.80), replace(measured(0.5, metric="cad_corrected"), precision="nf4")
    assert outcome(limit, measured(0.9, metric="cad"), other) is Outcome.PASSED


def test_two_answers_to_one_limit_are_an_error():
    with pytest.raises(ScoringError, match="2 measurements"):
        outcome(AT_MOST, measured(0.0), measured(0.1))


def test_extra_measurements_change_nothing():
    assert outcome(AT_MOST, measured(0.1), measured(9.0, metric="cad")) is Outcome.PASSED


def verdict(*outcomes, complete=True):
    limits = [made_limit(f"m{i}", at_most=0.15) for i in range(len(outcomes))]
    values = {"passed": 0.0, "failed": 1.0}
    found = [measured(values[each], metric=f"m{i}") for i, each in enumerate(outcomes) if each in values]
    return judge(limits, found, candidate=CANDIDATE, complete=complete)


@pytest.mark.parametrize(
    ("outcomes", "complete", "status"),
    [
        (("passed",), True, ExitStatus.PASSED),
        (("passed", "failed"), True, ExitStatus.FAILED),
        (("passed", "unmeasured"), True, ExitStatus.NOT_ESTABLISHED),
        (("failed", "unmeasured"), True, ExitStatus.FAILED),
        ((), True, ExitStatus.NOT_ESTABLISHED),
        (("passed",), False, ExitStatus.NOT_ESTABLISHED),
        (("failed",), False, ExitStatus.FAILED),
    ],
)
def test_exit_status(outcomes, complete, status):
    assert exit_status(verdict(*outcomes, complete=complete)) is status


def test_a_run_from_scores_to_verdict():
    run, _ = made_run()
    assert run.verdict.word == "passed"
    assert [check.id for check in run.verdict.checks] == [limit.id for limit in run.policy.limits]


def test_a_destroyed_candidate_is_caught_by_retention():
    from tests.oracles.made_scores import made_scores

    run, _ = made_run(scores=made_scores(forget_full=0, forget_nf4=0, retain=12))
    assert [check.outcome for check in run.verdict.checks] == ["passed", "passed", "failed"]
