"""Patching runs from the corrupted prompt to the clean one as edges are let in."""

import pytest
import torch

from tests.attribution.tiny_models import FAMILIES, random_pairs, tiny
from tests.oracles import eap_ig as literal
from unlearn_guard.attribution.faithfulness import faithfulness
from unlearn_guard.attribution.graph import EdgeSet, Graph
from unlearn_guard.errors import UsageError

EDGES = Graph(layers=3, heads=4, groups=2).edges(EdgeSet.ALL)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_edge_is_the_model_and_no_edge_the_corrupted_prompt(family):
    model, pairs = tiny(family), random_pairs(2)
    assert faithfulness(model, pairs, circuit=EDGES, edges=EDGES) == pytest.approx(1.0, abs=1e-4)
    assert faithfulness(model, pairs, circuit=(), edges=EDGES) == pytest.approx(0.0, abs=1e-4)


def test_a_part_lies_where_patching_the_logits_reader_by_hand_says():
    """Edges into logits are patched, all but m2's: the final norm reads corrupted sources and the clean m2."""
    model, (pair,) = tiny("llama"), random_pairs(1)
    into_logits = [edge for edge in EDGES if edge.endswith("->logits")]
    found = faithfulness(model, [pair], circuit=["m2->logits"], edges=into_logits)
    clean, corrupted = (literal._run(model, ids, 4, 2)[0] for ids in (pair.clean, pair.corrupted))
    with torch.no_grad():
        # attention_bias: o_proj's bias belongs to no head and is the same on both prompts
        bias = sum(layer.self_attn.o_proj.bias for layer in model.model.layers)
        stream = sum(corrupted.values()) - corrupted["m2"] + clean["m2"] + bias
        logits = model.lm_head(model.model.norm(stream))[0, -1]
    metric = float(logits[pair.target] - sum(logits[w] for w in pair.wrong) / len(pair.wrong))
    high, low = (literal.metric(model, ids, pair.target, pair.wrong) for ids in (pair.clean, pair.corrupted))
    assert found == pytest.approx((metric - low) / (high - low), rel=1e-3)


def test_refuses_a_circuit_of_unknown_edges():
    with pytest.raises(UsageError, match="m9->logits"):
        faithfulness(tiny("llama"), random_pairs(1), circuit=["m9->logits"], edges=EDGES)
