"""The schema for editors and the reader agree, as far as a schema can see."""

import copy

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.draft import read_draft
from unlearn_guard.judging.metrics import METRICS
from unlearn_guard.judging.policy_schema import policy_schema
from unlearn_guard.judging.thresholds import list_policies, policy_file
from unlearn_guard.records import CONFIDENCE_LEVELS


@pytest.fixture
def validator():
    return Draft202012Validator(policy_schema())


GOOD = {
    "version": 1,
    "limits": [{"metric": "ptq_gap", "task": "@forget", "precision": "nf4", "at_most": 0.0, "because": "a test"}],
}


def changed(**rule):
    policy = copy.deepcopy(GOOD)
    policy["limits"][0].update(rule)
    return policy


def without(key):
    policy = copy.deepcopy(GOOD)
    del policy["limits"][0][key]
    return policy


def reads(policy):
    from io import StringIO

    text = StringIO()
    YAML(typ="safe", pure=True).dump(policy, text)
    try:
        read_draft(text.getvalue(), name="x", digest="d")
    except PolicyError:
        return False
    return True


def test_it_is_a_schema():
    schema = policy_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["title"] == "unlearn-guard policy"
    assert schema["description"].startswith("What must hold before a model")


def test_an_editor_says_what_each_key_is_and_completes_the_metrics():
    schema = policy_schema()
    rule = schema["$defs"]["Rule"]
    assert rule["description"].startswith("One rule")
    for name, field in (*schema["properties"].items(), *rule["properties"].items()):
        assert field["description"], name
        assert not {"title", "default"} & field.keys(), name
        assert {"type": "null"} not in field.get("anyOf", []), name
    assert rule["properties"]["metric"]["examples"] == list(METRICS)
    assert rule["properties"]["task"]["examples"] == ["@forget", "@retain", "@probe", "weights", "suite"]
    assert rule["properties"]["at_least"] == {
        "type": "number",
        "description": "lower bound, in the metric's own unit; accuracies are fractions",
    }
    assert [kind["type"] for kind in rule["properties"]["precision"]["anyOf"]] == ["string", "array"]
    assert schema["properties"]["precisions"]["type"] == "array"
    assert rule["properties"]["confidence"]["description"].startswith("the whole interval")
    assert rule["properties"]["confidence"]["enum"] == list(CONFIDENCE_LEVELS)
    assert rule["anyOf"] == [{"required": ["at_least"]}, {"required": ["at_most"]}]
    assert schema["properties"]["version"]["const"] == 1
    assert schema["properties"]["limits"]["minItems"] == 1


@pytest.mark.parametrize("name", list_policies())
def test_shipped_policies_are_valid(name, validator):
    policy = YAML(typ="safe").load(policy_file(name).read_text("utf-8"))
    assert [error.message for error in validator.iter_errors(policy)] == []


@pytest.mark.parametrize(
    ("policy", "good"),
    [
        (GOOD, True),
        (changed(precision=["nf4", "gptq"]), True),
        (changed(at_least=-0.5), True),
        (changed(confidence=0.95), True),
        ({**GOOD, "base": "./base", "suite": "organism", "precisions": ["full"]}, True),
        (without("at_most"), False),
        (without("because"), False),
        (without("metric"), False),
        (changed(at_mots=1.0), False),
        (changed(at_most=True), False),
        (changed(at_most="0.3"), False),
        (changed(at_most=None), False),
        (changed(confidence=0.5), False),
        (changed(precision=[]), False),
        (changed(precision=3), False),
        (changed(because=""), False),
        ({**GOOD, "limits": []}, False),
        ({**GOOD, "version": 2}, False),
        ({**GOOD, "suite": ""}, False),
        ({"limits": GOOD["limits"]}, False),
        ({**GOOD, "more": 1}, False),
    ],
)
def test_schema_and_reader_agree(policy, good, validator):
    assert (validator.is_valid(policy), reads(policy)) == (good, good)
