"""What cannot be read is refused by name."""

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, GraniteConfig, GraniteForCausalLM

from tests.attribution.tiny_models import tiny
from unlearn_guard.attribution.architectures import decoder_of
from unlearn_guard.errors import UsageError

SMALL = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_another_architecture_is_refused_with_what_is_missing():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(UsageError, match=r"'gpt2'.*(?s:.)*no adapter, and no model\.layers, model\.norm.*one of llama"):
        decoder_of(model)


def test_the_same_module_names_are_not_enough():
    """Granite scales what its sublayers add: Llama's names, another residual stream."""
    with pytest.raises(UsageError, match="usual module names, but no adapter"):
        decoder_of(GraniteForCausalLM(GraniteConfig(**SMALL)))


def test_every_missing_part_is_named():
    model = tiny("gemma2")
    del model.model.layers[0].post_feedforward_layernorm
    del model.model.layers[2].self_attn.k_proj
    with pytest.raises(UsageError, match=r"(?s)layers\.0\.post_feedforward_layernorm.*layers\.2\.self_attn\.k_proj"):
        decoder_of(model)


def test_a_norm_that_is_no_rms_norm_is_refused():
    model = tiny("llama")
    model.model.norm = nn.LayerNorm(32)
    with pytest.raises(UsageError, match="LayerNorm does not compute an RMS norm"):
        decoder_of(model)


def test_an_output_bias_under_a_norm_belongs_to_no_head():
    with pytest.raises(UsageError, match="a bias under a norm"):
        decoder_of(tiny("gemma2", attention_bias=True))


def test_the_norms_jacobian_is_autograds():
    norm = decoder_of(tiny("gemma3_text")).final_norm
    x, grad = torch.randn(2, 3, 32, requires_grad=True), torch.randn(2, 3, 32)
    (expected,) = torch.autograd.grad(norm.module(x), x, grad)
    torch.testing.assert_close(norm.pull_back(grad, x.detach()), expected, rtol=1e-5, atol=1e-6)
