"""Packed weights are read, checked for gradients, or made ordinary."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.attribution.tiny_models import random_pairs, tiny
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.attribution.linear import dense_weight, is_packed, make_dense
from unlearn_guard.errors import UsageError


class InferenceKernel(nn.Module):
    """Computes W x + b as a 4-bit kernel does: without telling autograd."""

    def __init__(self, linear, *, gradient=None):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias, self._hidden, self._gradient = linear.bias, [linear], gradient

    def forward(self, x):
        if self._gradient == "wrong":
            return self._hidden[0](x.detach()) + 0 * x.sum(-1, keepdim=True)
        with torch.no_grad():
            return self._hidden[0](x)


def test_the_weight_is_what_the_module_does_to_unit_vectors():
    linear = nn.Linear(5, 3)
    kernel = InferenceKernel(linear)
    assert is_packed(kernel)
    assert not is_packed(linear)
    assert dense_weight(linear, torch.ones(1)) is linear.weight
    torch.testing.assert_close(dense_weight(kernel, torch.ones(1)), linear.weight, check_stride=False)


@pytest.mark.parametrize("gradient", [None, "wrong"])
def test_a_kernel_without_gradients_is_refused_then_made_dense(gradient):
    model, pairs = tiny("qwen2"), random_pairs(2)
    expected = attribute(model, pairs)
    layer = model.model.layers[1]
    layer.mlp.up_proj = InferenceKernel(layer.mlp.up_proj, gradient=gradient)
    layer.self_attn.q_proj = InferenceKernel(layer.self_attn.q_proj)
    with pytest.raises(UsageError, match=r"(?s)1\.self_attn\.q_proj.*1\.mlp\.up_proj.*make_dense"):
        attribute(model, pairs)
    assert make_dense(model) == ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"]
    found = attribute(model, pairs)
    np.testing.assert_allclose(found.scores_NE, expected.scores_NE, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def nf4(tmp_path_factory):
    """A tiny Llama and the same after NF4, as transformers loads it."""
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = tmp_path_factory.mktemp("plain")
    plain = tiny("llama", hidden_size=64, intermediate_size=128, head_dim=16)
    plain.save_pretrained(folder)
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)

    def load():
        return AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=settings, dtype=torch.float32, attn_implementation="eager", device_map="cpu"
        )

    return plain, load


def test_nf4_made_dense_holds_the_weights_that_bitsandbytes_means(nf4):
    from bitsandbytes.functional import dequantize_4bit

    _, load = nf4
    packed, dense, used = load(), load(), load()
    used(torch.tensor([[3, 4, 5]]))  # on some CPUs a pass without gradients repacks the weights
    assert len(make_dense(dense)) == len(make_dense(used)) == 7 * 3
    for name, module in packed.named_modules():
        if is_packed(module):
            meant = dequantize_4bit(module.weight.data, module.weight.quant_state)
            assert torch.equal(dense.get_submodule(name).weight, meant)
            assert torch.equal(used.get_submodule(name).weight, meant)


@pytest.mark.parametrize("edges", list(EdgeSet))
def test_nf4_is_attributed_as_its_dense_form_or_refused(nf4, edges):
    """Refused where the CPU's kernel gives no gradient; never attributed wrongly."""
    plain, load = nf4
    packed, dense, pairs = load(), load(), random_pairs(3)
    make_dense(dense)
    expected = attribute(dense, pairs, edges=edges)
    largest = np.abs(expected.scores_NE).max()
    try:
        found = attribute(packed, pairs, edges=edges)
    except UsageError:
        found = None
    if found is not None:
        np.testing.assert_allclose(found.scores_NE, expected.scores_NE, rtol=1e-3, atol=1e-4 * largest)
    original = attribute(plain, pairs, edges=edges)
    assert np.abs(original.scores_NE - expected.scores_NE).max() > 1e-3 * largest
