"""The fast EAP-IG is the literal one."""

import numpy as np
import pytest
import torch

from tests.attribution.tiny_models import FAMILIES, GROUPS, HEADS, random_pairs, tiny
from tests.oracles import eap_ig as literal
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.errors import NonFiniteError, SuiteError, UsageError


def by_hand(model, pair, steps, groups=GROUPS):
    return literal.scores(model, pair.clean, pair.corrupted, pair.target, pair.wrong, steps, heads=HEADS, groups=groups)


def assert_same(found, expected):
    """To 1e-4 of each score, with the largest score's rounding as the floor."""
    expected = np.array(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_agrees_with_the_literal_version_on_every_edge(family):
    model, pairs = tiny(family), random_pairs(2)
    found = attribute(model, pairs, edges=EdgeSet.ALL, steps=3)
    for item, pair in enumerate(pairs):
        expected = by_hand(model, pair, 3)
        assert set(found.edges) == set(expected)
        assert_same(found.scores_NE[item], [expected[edge] for edge in found.edges])
        assert found.clean_N[item] == pytest.approx(
            literal.metric(model, pair.clean, pair.target, pair.wrong), rel=1e-5
        )
        assert found.corrupted_N[item] == pytest.approx(
            literal.metric(model, pair.corrupted, pair.target, pair.wrong), rel=1e-5
        )


@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (4, 4)])
def test_agrees_with_one_kv_head_and_with_one_a_query(heads, groups):
    model, (pair,) = tiny("llama", num_key_value_heads=groups), random_pairs(1)
    found = attribute(model, [pair], edges=EdgeSet.ALL, steps=2)
    expected = by_hand(model, pair, 2, groups)
    assert_same(found.scores_NE[0], [expected[edge] for edge in found.edges])


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_edges_into_mlps_are_those_of_the_full_graph(family):
    model, pairs = tiny(family), random_pairs(3)
    few, every = attribute(model, pairs), attribute(model, pairs, edges=EdgeSet.ALL)
    at = [every.edges.index(edge) for edge in few.edges]
    assert_same(few.scores_NE, every.scores_NE[:, at])
    assert all("->m" in edge for edge in few.edges)


@pytest.mark.parametrize("rows", [1, 2, 5, 11, 64])
@pytest.mark.parametrize("edges", list(EdgeSet))
def test_does_not_depend_on_the_batch(rows, edges):
    model, pairs = tiny("qwen3"), [*random_pairs(3), *random_pairs(2, length=9, seed=4, wrong=1)]
    alone = np.concatenate([attribute(model, [pair], edges=edges).scores_NE for pair in pairs])
    assert_same(attribute(model, pairs, edges=edges, rows=rows).scores_NE, alone)


def test_does_not_depend_on_the_order_and_prompts_of_other_lengths_add_nothing():
    model, pairs = tiny("llama"), [*random_pairs(2), *random_pairs(2, length=12, seed=3)]
    forward, backward = attribute(model, pairs), attribute(model, pairs[::-1])
    assert_same(forward.scores_NE, backward.scores_NE[::-1])
    assert_same(forward.scores_NE[:2], attribute(model, pairs[:2]).scores_NE)


def test_position_blocks_change_nothing(monkeypatch):
    model, pairs = tiny("phi3"), random_pairs(2)
    whole = attribute(model, pairs, edges=EdgeSet.ALL).scores_NE
    monkeypatch.setattr("unlearn_guard.attribution.readers.POSITION_BLOCK_BYTES", 1)
    assert_same(attribute(model, pairs, edges=EdgeSet.ALL).scores_NE, whole)


@pytest.mark.parametrize(
    "mutation",
    ["wrong sign", "no clean-corrupted difference", "layer norm after the reader", "another number of steps"],
)
def test_the_literal_version_tells_wrong_ones_apart(mutation, monkeypatch):
    from unlearn_guard.attribution import architectures, sources

    if mutation == "wrong sign":
        keep = sources.SourceDeltas.times_one
        monkeypatch.setattr(sources.SourceDeltas, "times_one", lambda *args: -keep(*args))
    elif mutation == "no clean-corrupted difference":
        monkeypatch.setattr(sources.SourceDeltas, "_input_hook", _without_the_clean_side)
    elif mutation == "layer norm after the reader":
        monkeypatch.setattr(architectures.Norm, "pull_back", lambda self, grad, x: grad.float())
    model, (pair,) = tiny("llama"), random_pairs(1)
    found = attribute(model, [pair], steps=3)
    expected = by_hand(model, pair, 3 if mutation != "another number of steps" else 2)
    with pytest.raises(AssertionError):
        assert_same(found.scores_NE[0], [expected[edge] for edge in found.edges])


def _without_the_clean_side(self, settle):
    def hook(module, args, kwargs):
        self.input = args[0].detach()[:1]

    return hook


def test_leaves_the_model_as_it_was():
    model, pairs = tiny("gemma2").train(), random_pairs(1)
    frozen = next(model.parameters()).requires_grad_(False)
    attribute(model, pairs, edges=EdgeSet.ALL)
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    assert not frozen.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_bf16_is_accumulated_in_fp32():
    model, pairs = tiny("llama"), random_pairs(4)
    exact = attribute(model, pairs).mean_E()
    rough = attribute(model.to(torch.bfloat16), pairs).mean_E()
    assert np.corrcoef(exact, rough)[0, 1] > 0.99


def test_names_the_pair_that_is_not_finite():
    model, pairs = tiny("llama"), random_pairs(2)
    with torch.no_grad():
        model.model.embed_tokens.weight[pairs[1].clean[1]] = float("nan")
    with pytest.raises(NonFiniteError, match="pair 1"):
        attribute(model, pairs)


def test_names_the_pair_with_a_token_the_model_lacks():
    with pytest.raises(SuiteError, match=r"pair 0: found token id .*ids below 40"):
        attribute(tiny("llama", vocab_size=40), random_pairs(1, seed=5))


def test_refuses_no_pairs_and_no_steps():
    with pytest.raises(UsageError, match="at least one"):
        attribute(tiny("llama"), [])
    with pytest.raises(UsageError, match="0 steps"):
        attribute(tiny("llama"), random_pairs(1), steps=0)
