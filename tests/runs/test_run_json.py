"""run.json as outside programs read it: every key by its name, and no claim without what it claims."""

import json

import pytest

from tests.runs.edits import edited
from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.records import Environment
from unlearn_guard.runs.directory import read_run


def test_a_check_carries_its_measurements_error(written):
    content = json.loads((written / "run.json").read_text())
    of = {(each["metric"], each["task"], each["precision"], each["subject"]): each for each in content["measurements"]}
    subject = content["candidate"]["digest"]
    told = [(each, of[each["metric"], each["task"], each["precision"], subject]) for each in content["checks"]]
    assert [check["stderr"] for check, _ in told] == [measured["stderr"] for _, measured in told]
    assert any(check["stderr"] is not None for check, _ in told)


def test_checkpoints_policy_and_machine_are_told_by_the_contracts_keys(written):
    content = json.loads((written / "run.json").read_text())
    assert set(content["candidate"]) == {"path", "digest", "precision", "method", "files"}
    assert "limits" not in content["policy"], "the checks say them"
    assert set(content["environment"]) == set(Environment.__dataclass_fields__)


@pytest.mark.parametrize(
    ("bend", "where"),
    [
        (lambda content: content.update(verdict="failed"), r"run\.json: verdict: "),
        (lambda content: content.update(limit=7), r"run\.json: complete: "),
    ],
)
def test_a_claim_that_does_not_follow_is_named_by_its_field(written, bend, where):
    edited(written, bend)
    with pytest.raises(RunDirectoryError) as caught:
        read_run(written)
    import re

    assert re.search(rf"(?m)(^|\s){where}", str(caught.value)), str(caught.value)


@pytest.mark.parametrize("schema", [None, 1, "unlearn-guard.run/2", "unlearn-guard.run/"])
def test_another_schema_is_not_read_at_all(written, schema):
    edited(written, lambda content: content.update(schema=schema))
    with pytest.raises(RunDirectoryError, match="this version cannot read the run"):
        read_run(written)
