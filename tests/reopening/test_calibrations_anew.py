"""A run with several calibrations opens as it was judged, and in no other way."""

import json
from dataclasses import replace

import pytest

from tests.oracles.made_directory import forged
from tests.oracles.made_scores import made_limit, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.command_line.app import run as command
from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.judging.calibrated import calibrated, spread
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import Property
from unlearn_guard.reopening.run import read_run
from unlearn_guard.runs.directory import write_run

FORGET = made_task(100)
LIMITS = (
    made_limit("forget_drop", at_least=0.3),
    made_limit("ptq_gap", precision="gptq", guards=Property.PERMANENCE, at_most=0.0),
    made_limit("calibration_spread", precision="gptq", guards=Property.REPORTED, at_most=0.7),
)


@pytest.fixture
def out(tmp_path):
    """20 of 100 in full precision; at GPTQ 20, 15 and, calibrated on the forget text, 85."""
    tried = {
        name: made_score(FORGET, ones(right, 100), precision="gptq")
        for name, right in (("suite", 20), ("retain", 15), ("forget", 85))
    }
    found, own = calibrated(tried), tried["forget"]
    scores = (*made_scores()[:2], own, *made_scores()[3:])
    run, _ = made_run(limits=(), scores=scores)
    measurements = (*run.measurements, spread(found, own))
    made, _ = made_run(limits=LIMITS, scores=scores)
    verdict = judge(made.policy.limits, measurements, candidate=run.candidate.digest, complete=True)
    run = replace(made, measurements=measurements, calibrations=(found,), verdict=verdict)
    others = []
    for name in found.others:
        label = found.label(name)
        score = tried[name]
        others.append(replace(score, precision=label, measurement=replace(score.measurement, precision=label)))
    write_run(run, (*scores, *others), tmp_path / "run")
    return tmp_path / "run"


def test_the_worst_counts_in_the_run_that_is_read_again(out, capsys):
    run = read_run(out)
    (found,) = run.calibrations
    assert (found.worst, found.spread) == ("forget", 0.7)
    assert command(["judge", str(out)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "FAILED ptq_gap[forget_task-gptq]" in said
    assert "Worst over 1 format: forget_task gptq 0.650 [" in said
    assert "calibrated on forget, the worst of 3" in said


def swapped(content):
    """Another one is said to be the worst."""
    content["calibrations"][0]["worst"] = "suite"


def lower(content):
    content["calibrations"][0]["scores"]["forget"] = 0.2
    content["calibrations"][0]["worst"] = "suite"


def narrower(content):
    (found,) = [each for each in content["measurements"] if each["metric"] == "calibration_spread"]
    found["value"] = 0.1


def one_less(content):
    del content["calibrations"][0]["scores"]["suite"]


def none(content):
    content["calibrations"] = []


def other(content):
    content["calibrations"][0]["scores"]["retain"] = 0.1


@pytest.mark.parametrize("bend", [swapped, lower, narrower, one_less, none, other])
def test_what_the_answers_do_not_give_is_refused(out, bend):
    forged(out, bend)
    with pytest.raises(RunDirectoryError):
        read_run(out)


def test_answers_above_those_that_count_are_refused(out):
    name = "samples/forget_task.gptq-on-suite.candidate.jsonl"
    lines = [json.loads(line) | {"correct": 1.0} for line in (out / name).read_text().splitlines()]
    (out / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    forged(out, lambda _: None)
    with pytest.raises(RunDirectoryError, match="is not the calibration of most score"):
        read_run(out)
