"""Scores that can be worked out on paper, and the completeness of integrated gradients."""

import numpy as np
import pytest
import torch

from tests.attribution.tiny_models import random_pairs, tiny
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.graph import EdgeSet, Graph
from unlearn_guard.attribution.prompts import Pair


def linear_model():
    """One head of width 2, no queries (so attention is even), no MLP, norms that multiply by 1: all of it is linear.

    Embeddings: token 0 is (1, 0), 1 is (0, 1), 2 is (2, 2). Values are the input times 3, o_proj doubles
    them. Logit of token 0 reads the first coordinate, of token 1 the second, of token 2 nothing.
    """
    model = tiny(
        "llama", layers=1, vocab_size=3, hidden_size=2, head_dim=2, intermediate_size=2, num_attention_heads=1,
        num_key_value_heads=1, rms_norm_eps=1e12, attention_bias=False,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for norm in (model.model.norm, model.model.layers[0].input_layernorm):
            norm.weight.fill_(1e6)  # sqrt(eps): x * 1e6 / sqrt(x^2 + 1e12) is x
        model.model.embed_tokens.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]))
        model.model.layers[0].self_attn.v_proj.weight.copy_(3 * torch.eye(2))
        model.model.layers[0].self_attn.o_proj.weight.copy_(2 * torch.eye(2))
        model.lm_head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    return model


def test_a_linear_model_worked_by_hand():
    """Clean (0, 1), corrupted (2, 0); M = x1 - x2 / 2 of what the last position holds.

    Last position: own embedding plus 6 times the mean embedding. Clean: (0,1) + 6 (.5,.5) = (3,4), M = 1.
    Corrupted: (1,0) + 6 (1.5,1) = (10,6), M = 7.
    The embedding's own change (1,-1) is worth 1.5, the head's 6 (1,.5) is worth 4.5.
    """
    pair = Pair(clean=(0, 1), corrupted=(2, 0), target=0, wrong=(1, 2), where="by hand")
    found = attribute(linear_model(), [pair], edges=EdgeSet.ALL, steps=5)
    scores = dict(zip(found.edges, found.scores_NE[0].tolist(), strict=True))
    assert found.clean_N[0] == pytest.approx(1.0)
    assert found.corrupted_N[0] == pytest.approx(7.0)
    assert scores.pop("input->logits") == pytest.approx(1.5)
    assert scores.pop("a0.h0->logits") == pytest.approx(4.5)
    assert scores.pop("input->a0.kv0<v>") == pytest.approx(4.5)
    assert all(score == 0 for score in scores.values())


def test_is_complete_on_the_linear_model():
    """What flows out of the input, and what flows into the logits, is the whole change of the metric."""
    pair = Pair(clean=(0, 1), corrupted=(2, 0), target=0, wrong=(1, 2), where="by hand")
    found = attribute(linear_model(), [pair], edges=EdgeSet.ALL)
    change = found.corrupted_N[0] - found.clean_N[0]
    for flow in (str.startswith, "input->"), (str.endswith, "->logits"):
        at = [flow[0](edge, flow[1]) for edge in found.edges]
        assert found.scores_NE[0, at].sum() == pytest.approx(change, rel=1e-6)


def test_becomes_complete_with_the_steps_on_any_model():
    """The left Riemann sum of the path integral: its error halves as the steps double."""
    model, pairs = tiny("gemma2", initializer_range=0.1), random_pairs(3)
    errors = []
    for steps in (50, 100):
        found = attribute(model, pairs, edges=EdgeSet.ALL, steps=steps, rows=100)
        at = [edge.startswith("input->") for edge in found.edges]
        errors.append(np.abs(found.scores_NE[:, at].sum(1) - (found.corrupted_N - found.clean_N)).max())
    assert errors[1] < 0.65 * errors[0]
    assert errors[1] < 0.05 * np.abs(found.corrupted_N - found.clean_N).max()


def test_edges_are_named_as_the_file_format_says():
    graph = Graph(layers=1, heads=2, groups=1)
    assert graph.sources == ("input", "a0.h0", "a0.h1", "m0")
    assert graph.edges(EdgeSet.MLP) == ("input->m0", "a0.h0->m0", "a0.h1->m0")
    assert graph.edges(EdgeSet.ALL) == (
        "input->a0.h0<q>", "input->a0.h1<q>", "input->a0.kv0<k>", "input->a0.kv0<v>",
        "input->m0", "a0.h0->m0", "a0.h1->m0",
        "input->logits", "a0.h0->logits", "a0.h1->logits", "m0->logits",
    )  # fmt: skip
