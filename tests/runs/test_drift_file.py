"""Counts of weights: read as written, of these two models alone, and refused by field."""

import json

import pytest

from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.records import LayerDrift
from unlearn_guard.runs.drift_file import read_drift, write_drift

LAYERS = (LayerDrift(layer="l0", weights=9, changed=3, flipped=2, survived=1, ratios=(0,) * 10 + (3,) + (0,) * 6),)


@pytest.fixture
def path(tmp_path):
    write_drift(tmp_path, LAYERS, base="sha256:b", candidate="sha256:c")
    return tmp_path / "nf4.json"


def refusal(path, **models):
    with pytest.raises(RunDirectoryError, match="does not hold counts of this run's weights") as caught:
        read_drift(path, **{"base": "sha256:b", "candidate": "sha256:c", **models})
    return [(defect.where, defect.found) for defect in caught.value.defects]


def test_what_was_written_is_read(path):
    assert read_drift(path, base="sha256:b", candidate="sha256:c") == LAYERS
    content = json.loads(path.read_text())
    assert content["schema"] == "unlearn-guard.weights/1"
    assert (content["base"], content["candidate"]) == ("sha256:b", "sha256:c")


def test_counts_of_other_models_are_refused(path):
    assert refusal(path, base="sha256:x") == [("base", "sha256:b, not sha256:x")]
    assert refusal(path, candidate="sha256:x") == [("candidate", "sha256:c, not sha256:x")]
    assert len(refusal(path, base="x", candidate="y")) == 2


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"schema": "unlearn-guard.weights/2"}, "schema"),
        ({"base": None}, "base"),
        ({"layers": [{"layer": "l0"}]}, "layers.0.weights"),
        ({"layers": [{"layer": "l0", "weights": 1, "changed": 2, "flipped": 0, "survived": 0, "ratios": [2]}]}, "lay"),
    ],
)
def test_what_are_no_counts_is_refused_by_field(path, changes, where):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert refusal(path)[0][0].startswith(where)


def test_what_is_no_json_or_not_there_is_refused(path):
    path.write_text('{"base": 1, "base": 2}')
    ((where, found),) = refusal(path)
    assert (where, "twice" in found) == ("file", True)
    path.unlink()
    ((where, found),) = refusal(path)
    assert (where, "No such file" in found) == ("file", True)
