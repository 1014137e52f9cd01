"""Circuits are ranked by attribution, and say how much of it they hold."""

import pytest

from unlearn_guard.attribution.circuit import default_size, edge_circuit, mlp_circuit, share_of_mass
from unlearn_guard.errors import UsageError
from unlearn_guard.records import EdgeScores


def edge_scores(edges, steps=5):
    return EdgeScores(subject="s", task="t", edges=tuple(edges), scores=tuple(edges.values()), steps=steps)


SCORES = edge_scores({"input->m0": -1.0, "a0.h0->m0": 1.0, "input->m1": 5.0, "m0->m1": -1.0, "input->logits": 90.0})


def test_ranks_mlps_by_incoming_mass_whatever_its_sign():
    circuit = mlp_circuit(SCORES, k=1)
    assert (circuit.layers, circuit.masses, circuit.share) == ((1,), (6.0,), 0.75)
    assert mlp_circuit(SCORES, k=2).layers == (1, 0)
    assert mlp_circuit(SCORES, k=2).share == 1.0


def test_takes_ten_of_thirty_two_and_at_least_one():
    assert [default_size(depth) for depth in (1, 4, 8, 16, 32, 36, 80)] == [1, 1, 3, 5, 10, 11, 25]


def test_layer_1_is_not_layer_11():
    circuit = mlp_circuit(edge_scores({f"input->m{layer}": float(layer == 1) + 0.01 for layer in range(12)}), k=1)
    assert circuit.holds("a0.h3->m1")
    assert not circuit.holds("a0.h3->m11")
    assert not circuit.holds("m1->logits")


def test_takes_the_heaviest_edges():
    assert edge_circuit(SCORES, 2) == ("input->logits", "input->m1")
    assert share_of_mass(SCORES, ["input->logits", "m0->m1"]) == pytest.approx(91 / 98)


@pytest.mark.parametrize("k", [0, 3])
def test_refuses_a_circuit_that_cannot_be_had(k):
    with pytest.raises(UsageError, match=f"a circuit of {k} MLPs"):
        mlp_circuit(SCORES, k=k)


def test_no_attribution_is_an_error():
    nothing = edge_scores({"input->m0": 0.0})
    with pytest.raises(UsageError):
        mlp_circuit(nothing)
    with pytest.raises(UsageError, match="every edge score is zero"):
        share_of_mass(nothing, [])
