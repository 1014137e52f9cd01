"""Layers that run again on the way back give autograd's gradient, and hold one layer at a time."""

from contextlib import nullcontext

import pytest
import torch

from tests.attribution.allocator import peak_bytes
from tests.attribution.tiny_models import FAMILIES, random_pairs, tiny
from unlearn_guard.attribution.eap_ig import Metric, attribute, inference_state, token_ids
from unlearn_guard.attribution.replay import Replay
from unlearn_guard.errors import ScoringError


def quietly(_):
    return nullcontext()


def both_ways(model, pairs):
    """The metric's gradient at what enters layer 0: replayed, and by autograd through the whole model."""
    metric, ids = Metric(pairs, model), token_ids([pair.clean for pair in pairs], model)
    entered = []

    def leaf(_, args):
        entered.append(args[0].detach().requires_grad_())
        return (entered[0], *args[1:])

    with inference_state(model):
        replay = Replay(model.model.layers)
        with replay.keeping():
            total = metric(ids).sum()
        found = replay.backward(total, quietly)
        handle = model.model.layers[0].register_forward_pre_hook(leaf)
        (expected,) = torch.autograd.grad(metric(ids).sum(), entered)
        handle.remove()
    return found, expected


@pytest.mark.parametrize("family", FAMILIES)
def test_is_autograds_gradient(family):
    found, expected = both_ways(tiny(family), random_pairs(2))
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_layer_that_another_input_is_replayed_with_would_be_noticed(monkeypatch):
    keep = Replay._keep
    monkeypatch.setattr(Replay, "_keep", lambda self, m, args, kwargs: keep(self, m, (2 * args[0], *args[1:]), kwargs))
    found, expected = both_ways(tiny("llama"), random_pairs(2))
    assert not torch.allclose(found, expected, rtol=1e-2)


def test_layers_run_in_reverse_each_in_its_own_context():
    model, opened = tiny("llama"), []
    with inference_state(model):
        replay = Replay(model.model.layers)
        with replay.keeping():
            total = model(torch.tensor([[3, 4, 5]]), use_cache=False).logits.sum()
        replay.backward(total, lambda index: opened.append(index) or nullcontext())
    assert opened == [2, 1, 0]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_forward_pass_builds_no_graph_below_the_last_layer():
    model, needing = tiny("llama"), []
    with inference_state(model):
        replay = Replay(model.model.layers)
        handles = [
            layer.register_forward_hook(lambda _, __, y: needing.append(y.requires_grad))
            for layer in model.model.layers
        ]
        with replay.keeping():
            model(torch.tensor([[3, 4, 5]]), use_cache=False)
        for handle in handles:
            handle.remove()
    assert needing == [False] * 3


def test_more_layers_cost_what_enters_them_and_their_sources():
    """Autograd through the whole model would hold some 20 widths a row, token and layer; this holds three."""
    pairs, width = random_pairs(1, length=32), 32
    few, many = (peak_bytes(lambda n=n: attribute(tiny("llama", layers=n), pairs, rows=5)) for n in (3, 12))
    built_few, built_many = (peak_bytes(lambda n=n: tiny("llama", layers=n)) for n in (3, 12))
    assert built_few < few
    grown = (many - few - (built_many - built_few)) / (9 * 32 * width * 4)
    assert 0 < grown <= 5 + 2 + 1  # five rows' inputs, dA of the heads and of the MLP, and the positions' angles


def test_refuses_a_cache_which_would_take_each_layers_keys_twice():
    model = tiny("llama")
    with inference_state(model), Replay(model.model.layers).keeping(), pytest.raises(ScoringError, match="cache"):
        model(torch.tensor([[3, 4, 5]]), use_cache=True)
