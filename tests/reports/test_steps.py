from tests.oracles.made_scores import made_limit, made_run, made_scores
from unlearn_guard.records import Outcome, Property
from unlearn_guard.reports.steps import steps


def of(*limits, scores=None):
    return steps(made_run(limits=limits, scores=scores or made_scores(forget_nf4=85))[0])


def test_a_pass_has_none():
    assert steps(made_run()[0]) == ()


def test_one_remedy_names_all_its_tasks():
    gap = {"precision": "nf4", "guards": Property.PERMANENCE, "at_most": 0.0}
    retain = made_limit("retain_drop", task="retain_task", guards=Property.RETENTION, at_most=-0.5)
    broken, kept = of(made_limit("ptq_gap", **gap), retain)
    assert [check.id for check in broken.checks] == ["ptq_gap[forget_task-nf4]"]
    assert "brings forget_task back" in broken.text
    assert "Too much of retain_task" in kept.text


def test_every_open_check_is_in_one_step_and_the_worst_come_first():
    limits = (
        made_limit("forget_drop", precision="gptq", at_least=0.3),
        made_limit("cad", at_least=0.8, guards=Property.ERASURE),
        made_limit("forget_drop", at_least=0.77, confidence=0.95),
        made_limit("ptq_gap", precision="nf4", at_most=0.0),
        made_limit("recovery", precision="awq", at_most=0.5),
    )
    found = of(*limits)
    assert [step.outcome for step in found] == [
        Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.UNMEASURED, Outcome.UNMEASURED,
    ]  # fmt: skip
    assert sorted(check.id for step in found for check in step.checks) == sorted(limit.id for limit in limits)
    assert found[2].text == "Run check again with --precisions full,nf4,gptq,awq."
    assert found[2].metrics == "forget_drop, recovery at gptq, awq"
    assert "pairs:" in found[3].text


def test_what_was_asked_and_gave_nothing_points_to_the_notes():
    (step,) = of(made_limit("above_chance", at_least=0.3))
    assert "the notes say why" in step.text


def test_other_words_that_nobody_asked_in_are_to_be_written():
    (step,) = of(made_limit("paraphrase_recovery", task="suite", at_most=0.1))
    assert "`phrasing: held_out`" in step.text


def test_a_task_that_was_not_asked_is_to_be_measured():
    (step,) = of(made_limit("forget_drop", task="other_task", at_least=0.3))
    assert step.text == "Run check again with --precisions full,nf4."


def test_weights_at_a_precision_that_was_not_measured_are_to_be_measured():
    """Of nothing in it can be said that it was asked."""
    (step,) = of(made_limit("quantized_share", task="weights", precision="gptq", at_least=0.95))
    assert step.text == "Run check again with --precisions full,nf4,gptq."
    (step,) = of(made_limit("quantized_share", task="weights", precision="nf4", at_least=0.95))
    assert "the notes say why" in step.text
