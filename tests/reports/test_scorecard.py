import pytest

from tests.oracles.made_evidence import VERDICTS
from tests.oracles.made_scores import made_limit, made_run
from unlearn_guard.records import Outcome, Property
from unlearn_guard.reports.scorecard import scorecard, sentence


def test_a_property_is_as_good_as_its_worst_limit():
    scores = {score.guards: score for score in scorecard(VERDICTS["failed"]())}
    assert [scores[each].answer for each in (Property.FORGETTING, Property.PERMANENCE)] == ["Yes", "No"]
    assert scores[Property.RETENTION].outcome is Outcome.INCONCLUSIVE
    assert scores[Property.RETENTION].answer == "Not established"
    assert Property.ERASURE not in scores  # no limit asks


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (VERDICTS["passed"](), "may be released under the policy thresholds.yaml: it has forgotten as much"),
        (VERDICTS["passed"](), "quantizing it does not bring that back (nf4) and it has kept"),
        (VERDICTS["failed"](), "must not be released under the policy thresholds.yaml: quantized, it knows more"),
        (VERDICTS["failed"](), "(nf4)"),
        (VERDICTS["incomplete"](), "has not been established, so it must not be: what is missing is evidence of perm"),
        (made_run(complete=False)[0], "Nothing has been established: only part of the questions"),
    ],
)
def test_the_sentence_says_release_or_not_and_why(run, said):
    assert said in sentence(run)


def test_only_a_pass_says_may():
    for name, make in VERDICTS.items():
        assert (" may be released under the policy thresholds.yaml: " in sentence(make())) == (name == "passed")
    nothing = made_run(limits=(), complete=True)[0]
    assert "must not be" in sentence(nothing)
    partly = made_run(limits=(made_limit("forget_drop", at_least=0.3),), complete=False)[0]
    assert "may be" not in sentence(partly)


def test_one_broken_limit_among_held_ones_breaks_the_property():
    held, broken = made_limit("forget_drop", at_least=0.3), made_limit("above_chance_removed", at_least=5.0)
    for limits in ((held, broken), (broken, held)):
        (score,) = scorecard(made_run(limits=limits)[0])
        assert (score.outcome, score.answer, score.held) == (Outcome.FAILED, "No", 1)


def test_one_unmeasured_limit_among_held_ones_leaves_the_property_open():
    missing = made_limit("forget_drop", precision="gptq", at_least=0.3)
    (score,) = scorecard(made_run(limits=(made_limit("forget_drop", at_least=0.3), missing))[0])
    assert (score.outcome, score.answer) == (Outcome.UNMEASURED, "Not established")
