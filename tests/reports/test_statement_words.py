"""What a statement says of limits that were not measured, are inconclusive or were warned of."""

import json
from dataclasses import replace

import pytest
from edited_json import edited

from tests.oracles.made_evidence import made_evidence
from tests.oracles.made_scores import made_limit, made_run, made_scores
from unlearn_guard.errors import UsageError
from unlearn_guard.records import Property
from unlearn_guard.reports.attestation import statement
from unlearn_guard.reports.attesting import attest, verify

UNPROVEN = (
    made_limit("forget_drop", at_least=0.3),
    made_limit("ptq_gap", precision="gptq", guards=Property.PERMANENCE, at_most=0.0),
    made_limit("retain_drop", task="retain_task", guards=Property.RETENTION, at_most=0.01, confidence=0.95),
)
"""Of made scores the first holds, nobody measured the second, and the third straddles its bound."""

ONE_PHRASING = (
    "suite: one phrasing asked: no forget task says `phrasing: held_out`, so what other words still find is unknown"
)
SHARED = "suite: 60 items of forget_task, to be forgotten, are also asked by retain_task, to be kept"
GAP, DRIFT = "ptq_gap[forget_task-gptq]", "retain_drop[retain_task-full]"


def test_a_statement_says_what_was_not_measured_what_is_inconclusive_and_what_was_warned_of(judged, candidate, out):
    run_dir = judged(limits=UNPROVEN)
    edited(run_dir / "run.json", lambda held: held.update(warnings=[]))  # they are worked out anew
    attest(run_dir, out)
    predicate = json.loads(out.read_text())["predicate"]
    about = predicate["configuration"][0]["annotations"]
    assert predicate["failedTests"] == [GAP, DRIFT]
    assert (about["unmeasured"], about["inconclusive"]) == ([GAP], [DRIFT])
    assert about["warnings"] == [ONE_PHRASING, SHARED]
    claim = verify(out, candidate)
    assert (claim.verdict, claim.passed) == ("incomplete", ("forget_drop[forget_task-full]",))
    assert (claim.failed, claim.unmeasured, claim.inconclusive) == ((GAP, DRIFT), (GAP,), (DRIFT,))
    assert claim.warnings == (ONE_PHRASING, SHARED)


def test_a_warning_is_one_printable_line():
    run = replace(made_run()[0], warnings=("odd\x1b[31m\nverdict: passed",))
    about = statement(made_evidence(run), {"a": "ab" * 32})["predicate"]["configuration"][0]["annotations"]
    assert about["warnings"] == ["odd\\x1b[31m\\nverdict: passed"]


def test_verify_prints_each_apart_from_the_broken(judged, candidate, out, capsys):
    from unlearn_guard.command_line.app import run

    limits = (*UNPROVEN, made_limit("forget_drop", precision="nf4", guards=Property.PERMANENCE, at_least=0.9))
    assert run(["attest", str(judged(limits=limits)), "--out", str(out)]) == 0
    assert f"warning: {SHARED}" in capsys.readouterr().err
    assert run(["verify", str(out), str(candidate)]) == 1
    told = capsys.readouterr().out
    assert f"did not hold: {GAP} (not measured)" in told
    assert f"did not hold: {DRIFT} (inconclusive)" in told
    assert "did not hold: forget_drop[forget_task-nf4] (broken)" in told
    assert f"warning: {SHARED}" in told


def test_verify_prints_what_held_on_part_of_the_items(judged, candidate, out, capsys):
    from unlearn_guard.command_line.app import run

    attest(judged(complete=False), out)
    assert run(["verify", str(out), str(candidate)]) == 5
    assert "held on part of the items only: forget_drop[forget_task-full]" in capsys.readouterr().out


def _about(held):
    return held["predicate"]["configuration"][0]["annotations"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: _about(s).update(unmeasured=[]),  # then a limit was broken, and the verdict is failed
        lambda s: _about(s).update(inconclusive=[GAP]),
        lambda s: _about(s).update(unmeasured=[GAP, GAP]),
        lambda s: _about(s).update(unmeasured=[GAP, "forget_drop[forget_task-full]"]),
        lambda s: _about(s).update(unmeasured=[GAP, "another"]),
        lambda s: _about(s).update(verdict="failed"),
        lambda s: _about(s).pop("unmeasured"),
        lambda s: _about(s).pop("inconclusive"),
        lambda s: _about(s).pop("warnings"),
        lambda s: _about(s).update(unmeasured=GAP),
        lambda s: s["predicate"]["passedTests"].append(GAP),
        lambda s: s["predicate"]["failedTests"].append(GAP),
        lambda s: s["predicate"].update(warnedTests=["another"]),
    ],
)
def test_annotations_that_contradict_the_lists_are_refused(judged, candidate, out, change):
    attest(judged(limits=UNPROVEN), out)
    edited(out, change)
    with pytest.raises(UsageError, match="not a statement"):
        verify(out, candidate)


def test_a_broken_limit_that_is_called_unmeasured_contradicts_the_verdict(judged, candidate, out):
    attest(judged(scores=made_scores(forget_nf4=85)), out)
    edited(out, lambda s: _about(s).update(unmeasured=["ptq_gap[forget_task-nf4]"]))
    with pytest.raises(UsageError, match="which the limits contradict"):
        verify(out, candidate)
