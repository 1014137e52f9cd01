"""What `paper` and `release` say of a run that the other judged."""

from dataclasses import replace

from tests.oracles.made_scores import made_limit, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.judging.rejudge import rejudge
from unlearn_guard.judging.second_opinion import second_opinion
from unlearn_guard.judging.thresholds import read_policy
from unlearn_guard.records import Measurement, Outcome
from unlearn_guard.reports import other_policy


def judged_by(name, run):
    return rejudge(run, read_policy(name))


def with_everything(run, value=0.0):
    """The run with what release asks beside answers, all of it honest or of this value."""
    metrics = [("relearn_recovery", "forget_task", p) for p in ("full", "nf4")]
    metrics += [("paraphrase_recovery", "suite", p) for p in ("full", "nf4", "gptq", "awq")]
    made = [
        Measurement(subject=run.candidate.digest, metric=m, task=t, precision=p, value=value, samples=100)
        for m, t, p in metrics
    ]
    return replace(run, measurements=(*run.measurements, *made))


def test_whichever_is_in_force_the_other_speaks():
    run, _ = made_run()
    assert second_opinion(run).policy == "release"
    assert second_opinion(judged_by("paper", run)).policy == "release"
    assert second_opinion(judged_by("release", run)).policy == "paper"


def test_what_was_not_measured_is_named_once_and_nothing_is_established():
    run, _ = made_run()
    line = other_policy.line(run)
    assert line.startswith("By the policy release: not established: ")
    assert "relearn_recovery" in line
    assert "were not measured" in line
    assert line.count("relearn_recovery") == 1


def test_precisions_at_which_nothing_was_measured_are_named_once():
    run, _ = made_run()
    missing = second_opinion(run).unmeasured
    assert missing[-2:] == ("gptq", "awq")
    assert "ptq_gap" not in missing  # it was measured where anything was


def test_a_limit_that_the_other_has_broken_is_named_before_what_is_missing():
    run, _ = made_run(scores=made_scores(forget_full=2, forget_nf4=2))  # below chance: it avoids the truth
    assert run.verdict.passed
    names = [f"above_chance_removed[forget_task-{each}]" for each in ("full", "nf4")]
    assert list(second_opinion(run).ids(Outcome.FAILED)) == names
    assert f"failed, {names[0]} and 1 more would be broken" in other_policy.line(run)


def test_the_other_changes_nothing():
    run, _ = made_run()
    before = run.verdict
    second_opinion(run)
    assert run.verdict is before


def test_a_suite_that_the_other_does_not_fit_is_said():
    task = made_task(100)
    scores = (made_score(task, ones(90, 100), "sha256:base"), made_score(task, ones(20, 100)))
    limits = (made_limit("forget_drop", at_least=0.3),)
    run, _ = made_run(scores=scores, limits=limits)
    assert "it does not fit this suite (@retain" in other_policy.line(run)


def test_part_of_the_items_is_never_a_pass():
    run, _ = made_run(complete=False)
    found = second_opinion(run).verdict
    assert found is not None
    assert not found.passed


def test_as_json_it_has_a_word():
    run, _ = made_run()
    told = other_policy.as_json(run)
    assert (told["policy"], told["verdict"]) == ("release", "incomplete")
    assert told["says"] == other_policy.line(run)


def test_recoveries_without_an_interval_decide_nothing():
    run, _ = made_run()
    found = second_opinion(with_everything(run))
    assert "relearn_recovery[forget_task-full]" in found.ids(Outcome.INCONCLUSIVE)
