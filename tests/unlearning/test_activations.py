"""What a module is given and returns, against the model's own hidden states."""

import pytest
import torch

from tests.attribution.tiny_models import FAMILIES, tiny
from tests.unlearning.small import CPU, llama, texts
from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.activations import at_last, entering, leaving
from unlearn_guard.unlearning.corpora import Text, batch
from unlearn_guard.unlearning.reference import Reference

DOWN = "model.layers.1.mlp.down_proj"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layers_output_is_the_next_hidden_state(family):
    model, asked = tiny(family), batch(texts(4, seed=8), range(4), CPU)
    with torch.no_grad():
        whole = model(input_ids=asked.ids_BT, attention_mask=asked.mask_BT, output_hidden_states=True)
        found = leaving(model, asked, "model.layers.1")
    assert torch.equal(found[asked.mask_BT], whole.hidden_states[2][asked.mask_BT])
    hooks = len(model.model.layers[1]._forward_hooks)  # transformers keeps one of its own
    with torch.no_grad():
        leaving(model, asked, "model.layers.1")
    assert len(model.model.layers[1]._forward_hooks) == hooks


def test_a_linear_layers_input_gives_its_output():
    model, asked = llama(), batch(texts(4, seed=8), range(4), CPU)
    with torch.no_grad():
        given, returned = entering(model, asked, DOWN), leaving(model, asked, DOWN)
    torch.testing.assert_close(given @ model.get_submodule(DOWN).weight.T, returned)
    assert not model.get_submodule(DOWN)._forward_pre_hooks


def test_the_last_position_of_a_prompt_one_text_at_a_time():
    """A text that counts from its second token on has no prompt: its own end."""
    model = llama()
    rows = [*texts(5, seed=8), Text(ids=(9, 8, 7, 6), start=1)]
    found = at_last(model, rows, leaving, "model.layers.1", 4)
    for row, one in zip(rows, found, strict=True):
        until = row.ids if row.start == 1 else row.ids[: row.start]
        with torch.no_grad():
            whole = model(input_ids=torch.tensor([until]), output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(one, whole[0, -1], rtol=1e-4, atol=1e-5)


def test_has_a_gradient_and_the_references_has_none():
    model, asked = llama(), batch(texts(2, seed=8), [0, 1], CPU)
    weight = model.get_submodule(DOWN).weight
    base = Reference(model, [f"{DOWN}.weight"])
    with torch.no_grad():
        before = leaving(model, asked, "model.layers.1")
        weight.add_(0.1)
    weight.requires_grad_(True)
    assert leaving(model, asked, "model.layers.1").requires_grad
    found = base.read(lambda one, rows: leaving(one, rows, "model.layers.1"), asked)
    assert torch.equal(found, before)
    assert not found.requires_grad


def test_a_module_that_is_not_run_once_is_refused():
    model, asked = llama(), batch(texts(2, seed=8), [0, 1], CPU)
    with pytest.raises(UsageError, match="rotary_emb"), torch.no_grad():
        leaving(model, asked, "model.rotary_emb")
