"""SCORES.json reads back as it was written, and the table shows the heaviest."""

import json

import numpy as np
import pytest

from unlearn_guard.attribution.scores import METRIC, ItemScores, LayerMass, read_scores, table, write_scores
from unlearn_guard.errors import UsageError

EDGES = ("input->a0.h0<q>", "input->m0", "a0.h0->m0", "input->a1.kv0<v>", "m0->logits")
ROWS = np.array([[1, 2, -4, 1, 9], [0, 1, -2, 0.1, 8]], dtype=np.float32)


@pytest.fixture
def scores():
    return ItemScores(edges=EDGES, scores_NE=ROWS, clean_N=np.array([3.0, 4.0]), corrupted_N=np.zeros(2), steps=5)


def test_round_trip(scores, tmp_path):
    path = tmp_path / "SCORES.json"
    write_scores(path, scores, subject="sha", task="forget")
    assert read_scores(path) == scores.edge_scores(subject="sha", task="forget")
    held = json.loads(path.read_text())
    assert held["edges"]["a0.h0->m0"] == -3.0
    assert (held["steps"], held["items"], held["metric"]) == (5, 2, "logit(target) - mean logit(wrong)")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "5"}, "steps: found str; expected int"),
        ({"edges": {}}, "edges: found none"),
        ({"edges": {"input": 1.0}}, "SRC->DST: a finite number"),
        ({"edges": {"input->m0": True}}, "SRC->DST: a finite number"),
        ({"metric": "loss"}, "metric: found 'loss'"),
    ],
)
def test_refuses_what_is_no_scores(scores, tmp_path, change, message):
    path = tmp_path / "SCORES.json"
    write_scores(path, scores, subject="sha", task="forget")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=message):
        read_scores(path)


def test_refuses_a_key_that_is_there_twice_and_nan(tmp_path):
    path = tmp_path / "SCORES.json"
    path.write_text('{"edges": {"input->m0": 1, "input->m0": 2}}')
    with pytest.raises(UsageError, match="twice"):
        read_scores(path)
    held = {"subject": "s", "task": "t", "metric": METRIC, "steps": 5, "items": 1, "edges": {"input->m0": float("nan")}}
    path.write_text(json.dumps(held))
    with pytest.raises(UsageError, match="finite"):
        read_scores(path)


def test_the_table_ranks_edges_and_sums_layers(scores):
    found = table(scores.edge_scores(subject="s", task="t"), heaviest=2)
    assert found.edges == (("m0->logits", 8.5), ("a0.h0->m0", -3.0))
    assert found.layers[0] == LayerMass(layer=0, mlp=4.5, attention=0.5)
    assert found.layers[1].attention == pytest.approx(0.55)
    assert found.total == pytest.approx(8.5 + 4.5 + 0.5 + 0.55)


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match="scores for 1 items"):
        ItemScores(edges=EDGES, scores_NE=ROWS, clean_N=np.zeros(1), corrupted_N=np.zeros(1), steps=5)
