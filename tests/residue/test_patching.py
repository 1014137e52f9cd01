"""States put into another model: by hand, against the literal forward pass, and what must not change."""

from itertools import pairwise

import pytest
import torch

from tests.families import FAMILIES
from tests.tiny import build
from unlearn_guard.errors import MeasurementError, UsageError
from unlearn_guard.residue.patching import carried, lens, read
from unlearn_guard.residue.states import at_the_end, layers_of, looked_at, recorded, replaced

ROWS = [[5, 7, 9, 11], [6, 8, 10, 12]]


def ask(model):
    """The share of a fixed set of next tokens, in two passes of different width: plain numbers that see any change."""
    found = []
    with torch.no_grad():
        for rows in (ROWS, [[4, 13, 9]]):
            logits = model(input_ids=torch.tensor(rows), use_cache=False).logits[:, -1].float()
            found += logits.softmax(-1)[:, 3].tolist()
    return tuple(found)


@pytest.fixture(scope="module")
def pair():
    return build("llama", num_hidden_layers=4), build("llama", seed=1, num_hidden_layers=4)


def test_the_literal_forward_pass_agrees(pair):
    """Layer by layer: the other model up to the layer, this one after it."""
    base, other = pair

    def literal(model, tail, layer, rows):
        ids = torch.tensor(rows)
        positions = torch.arange(ids.shape[1])[None]
        mask = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)[None, None]
        x = model.model.embed_tokens(ids)
        rotary = model.model.rotary_emb(x, positions)
        for index in range(4):
            block = (model if index <= layer else tail).model.layers[index]
            x = block(x, attention_mask=mask, position_ids=positions, position_embeddings=rotary)
            x = x[0] if isinstance(x, tuple) else x
        return tail.lm_head(tail.model.norm(x))[:, -1].softmax(-1)[:, 3].tolist()

    found = carried(base, read(other, ask), ask)
    with torch.no_grad():
        for layer in range(4):
            expected = literal(other, base, layer, ROWS) + literal(other, base, layer, [[4, 13, 9]])
            assert found[layer] == pytest.approx(expected, rel=1e-4)


def test_base_s_own_states_change_nothing(pair):
    base, _ = pair
    assert all(answers == ask(base) for answers in carried(base, read(base, ask), ask).values())


def test_where_only_the_last_layers_differ_the_earlier_ones_carry_everything(pair):
    base, _ = pair
    redirected = build("llama", num_hidden_layers=4)
    with torch.no_grad():
        redirected.model.layers[3].mlp.down_proj.weight.neg_()
    found = carried(base, read(redirected, ask), ask)
    assert [found[layer] == ask(base) for layer in range(4)] == [True, True, True, False]
    assert ask(redirected) != ask(base)
    assert found[3] == pytest.approx(ask(redirected))  # the head is base's, and the same


def test_the_lens_after_the_last_layer_is_the_model_itself(pair):
    base, _ = pair
    found = lens(base, read(base, ask), ask)
    assert found[3] == ask(base)
    assert found[0] != ask(base)


def test_the_lens_by_hand():
    """One layer that adds nothing: the lens after it is norm and head of the embedding."""
    model = build("llama", num_hidden_layers=1)
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        embedding = model.model.embed_tokens(torch.tensor([11]))
        scaled = embedding / embedding.square().mean().add(model.config.rms_norm_eps).sqrt()
        logits = scaled @ model.lm_head.weight.T
    assert lens(model, read(model, ask), ask)[0][0] == pytest.approx(float(logits.softmax(-1)[0, 3]), rel=1e-4)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "hrm_text"])
def test_every_family_has_layers_that_can_be_replaced(family):
    base, other = build(family), build(family, seed=1)
    assert len(layers_of(base)) == len(looked_at(base)) > 0
    found = carried(base, read(other, ask), ask)
    last = max(found)
    assert carried(base, read(base, ask), ask)[last] == pytest.approx(ask(base), rel=1e-4)
    assert found[last] != pytest.approx(ask(base), rel=1e-4)


def test_a_model_that_goes_round_its_layers_is_refused():
    with pytest.raises(UsageError, match="no list of 16 layers"):
        layers_of(build("hrm_text"))


def test_other_passes_than_those_read_are_refused(pair):
    base, other = pair
    states = read(other, ask)
    with pytest.raises(MeasurementError, match="batches"), replaced(base, 0, states[0]):
        base(input_ids=torch.tensor([[4, 5, 6]]))
    with pytest.raises(MeasurementError, match="fewer"), replaced(base, 0, states[0]):
        base(input_ids=torch.tensor(ROWS))
    assert ask(base) == ask(base)
    assert not base.model.layers[0]._forward_hooks


def test_deep_models_are_looked_at_evenly_and_at_their_end():
    model = build("llama", num_hidden_layers=40)
    found = looked_at(model)
    assert len(found) == 16
    assert found[-1] == 39
    assert {b - a for a, b in pairwise(found)} <= {2, 3}


def test_states_at_the_end_are_those_of_the_last_token(pair):
    base, _ = pair
    found = at_the_end(base, ROWS, [0, 3])
    with torch.no_grad(), recorded(base, [3]) as states:
        base(input_ids=torch.tensor(ROWS))
    assert found.shape == (2, 2, 64)
    assert torch.allclose(found[1], states[3][0][:, -1], atol=1e-5)
