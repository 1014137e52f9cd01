"""CAD counts what an edit moved on the circuit's edges; AS-C and AS-NC share the change out."""

import numpy as np
import pytest
import torch

from tests.attribution.tiny_models import random_pairs, tiny
from unlearn_guard.attribution.cad import as_c, as_nc, cad, corrected, measure
from unlearn_guard.attribution.circuit import Circuit, mlp_circuit
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.scores import ItemScores
from unlearn_guard.errors import MeasurementError
from unlearn_guard.records import EdgeScores

EDGES = ("input->m0", "a0.h0->m0", "input->m1", "m0->m1")
IN_M1 = Circuit(layers=(1,), masses=(1.0,), share=0.5)
WHERE = {"subject": "sha", "precision": "nf4", "task": "forget"}


def record(*scores):
    return EdgeScores(subject="s", task="t", edges=EDGES, scores=scores, steps=5)


def items(*rows):
    scores = np.array(rows, dtype=np.float32)
    return ItemScores(
        edges=EDGES, scores_NE=scores, clean_N=np.ones(len(rows)), corrupted_N=np.zeros(len(rows)), steps=5
    )


def test_worked_by_hand():
    """|4 - -1| + |-1 - -1| = 5 over 5 inside; |1 - 2| + |2 - 0| = 3 outside; 8 in all."""
    base, candidate = record(1.0, 2.0, 4.0, -1.0), record(2.0, 0.0, -1.0, -1.0)
    assert cad(base, candidate, IN_M1) == 1.0
    assert as_c(base, candidate, IN_M1) == 5 / 8
    assert as_nc(base, candidate, IN_M1) == 3 / 8


def test_a_change_of_sign_exceeds_one_and_everything_as_circuit_makes_as_c_cad():
    base, candidate = record(1.0, 2.0, 4.0, -1.0), record(-1.0, -2.0, -4.0, 1.0)
    whole = Circuit(layers=(0, 1), masses=(3.0, 5.0), share=1.0)
    assert cad(base, candidate, IN_M1) == 2.0
    assert as_c(base, candidate, whole) == cad(base, candidate, whole)
    assert as_nc(base, candidate, whole) == 0.0


def test_base_with_itself_is_exactly_zero_in_a_model_too():
    scores = attribute(tiny("llama"), random_pairs(3))
    circuit = mlp_circuit(scores.edge_scores(subject="s", task="t"))
    again = attribute(tiny("llama"), random_pairs(3))
    assert {m.metric: m.value for m in measure(scores, again, circuit, **WHERE)} == {"cad": 0, "as_c": 0, "as_nc": 0}


def test_a_model_that_only_boosts_a_refusal_token_has_no_divergence():
    pairs = random_pairs(3)
    refusal = next(t for t in range(3, 61) if all(t not in (p.target, *p.wrong) for p in pairs))
    base, boosted = tiny("llama"), tiny("llama")
    with torch.no_grad():
        boosted.lm_head.weight[refusal] = 50.0
    before, after = attribute(base, pairs), attribute(boosted, pairs)
    circuit = mlp_circuit(before.edge_scores(subject="s", task="t"))
    assert measure(before, after, circuit, **WHERE)[0].value == pytest.approx(0.0, abs=1e-6)


def test_measures_the_mean_over_items_with_error_and_intervals():
    base = items((1, 2, 4, -1), (1, 2, 2, -1), (0, 1, 3, -1))
    candidate = items((1, 2, 0, -1), (1, 2, 1, 0), (0, 1, 1, -1))
    found = measure(base, candidate, IN_M1, **WHERE)
    assert [each.name for each in found] == ["cad[forget-nf4]", "as_c[forget-nf4]", "as_nc[forget-nf4]"]
    first = found[0]
    assert first.value == pytest.approx((7 / 3 + 1 / 3) / 4)
    assert first.samples == 3
    assert first.stderr > 0
    assert [each.confidence for each in first.intervals] == [0.90, 0.95, 0.99]
    assert all(each.low <= first.value <= each.high for each in first.intervals)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_items_have_no_error_and_no_correction(count):
    pair = items(*[(1, 2, 4, -1)] * count), items(*[(1, 2, 0, -1)] * count)
    (first, *_) = measure(*pair, IN_M1, **WHERE)
    assert (first.value, first.stderr, first.intervals) == (pytest.approx(4 / 5), None, ())
    assert corrected(*pair, IN_M1, **WHERE) == ()


def test_a_zero_denominator_is_an_error():
    with pytest.raises(MeasurementError, match="no attribution on the circuit"):
        cad(record(1.0, 1.0, 0.0, 0.0), record(1.0, 1.0, 5.0, 5.0), IN_M1)


def test_unlike_scores_are_not_compared():
    with pytest.raises(MeasurementError, match="edge by edge"):
        cad(
            record(1.0, 2.0, 3.0, 4.0),
            EdgeScores(subject="s", task="t", edges=EDGES, scores=(1.0,) * 4, steps=3),
            IN_M1,
        )
    with pytest.raises(MeasurementError, match="2 items and the candidate on 1"):
        measure(items((1, 2, 3, 4), (1, 2, 3, 4)), items((1, 2, 3, 4)), IN_M1, **WHERE)
