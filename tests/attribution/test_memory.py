"""The memory formula predicts what the allocator sees."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.attribution.allocator import peak_bytes
from tests.attribution.tiny_models import random_pairs
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.attribution.memory import automatic_rows, memory, rows_within
from unlearn_guard.errors import UsageError

TOLERANCE = 0.25
SIZES = {"128 x 4": (128, 384, 4, 4, 2), "256 x 6": (256, 512, 6, 8, 4), "256 x 3, wide MLP": (256, 1024, 3, 4, 1)}


def config(width, mlp, layers, heads, groups):
    return LlamaConfig(
        vocab_size=500,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
    )


LLAMA_8B = config(4096, 14336, 32, 32, 8)
LLAMA_60M = config(512, 1408, 8, 8, 4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("edges", "rows", "dtype"), [("mlp", 20, torch.float32), ("all", 10, torch.bfloat16), ("all", 1, torch.float32)]
)
def test_predicts_the_measured_peak(size, edges, rows, dtype):
    model = LlamaForCausalLM(config(*SIZES[size])).to(dtype)
    pairs = random_pairs(max(1, rows // 5), length=64, vocabulary=400)
    measured = peak_bytes(lambda: attribute(model, pairs, rows=rows, edges=EdgeSet(edges)))
    predicted = memory(
        model.config, tokens=64, rows=rows, steps=5, edges=EdgeSet(edges), dtype_bytes=dtype.itemsize
    ).total
    assert predicted == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("edges", list(EdgeSet))
def test_the_automatic_choice_stays_under_a_quarter_of_ten_items_materialised_tensor(edges):
    """The 60 M Llama of the benchmark, whose reference holds [B, T, nodes, D] of ten items at once."""
    rows = automatic_rows(LLAMA_60M, 226 << 20, tokens=100, steps=5, edges=edges, dtype_bytes=4)
    assert rows == 1
    needed = memory(LLAMA_60M, tokens=100, rows=rows, steps=5, edges=edges, dtype_bytes=4)
    assert needed.sources == 4 * 100 * 512 * 17  # dA takes 2 L + 1 widths a token, the written-out nodes 73
    assert needed.total < 0.25 * 4 * 10 * 100 * 512 * 73


def test_the_automatic_choice_grows_with_the_weights_and_shrinks_with_the_prompt():
    assert automatic_rows(LLAMA_8B, 16 * 10**9, tokens=150, steps=5) == 5
    assert automatic_rows(LLAMA_8B, 16 * 10**9, tokens=2000, steps=5) == 1
    assert automatic_rows(config(128, 384, 4, 4, 2), 10**6, tokens=20, steps=5) >= 20
    assert automatic_rows(LLAMA_8B, 10**6, tokens=150, steps=5) == 1  # not even one fits: slow, and said by memory()


def test_8b_fits_an_80_gb_device():
    """16 GB of bf16 weights; 50 items of 150 tokens run in groups of 4, so only one group is there at a time."""
    needed = memory(LLAMA_8B, tokens=150, rows=20, steps=5)
    assert 2e9 < needed.total < 3e9
    assert 16e9 + memory(LLAMA_8B, tokens=150, rows=20, steps=5, edges=EdgeSet.ALL).total < 80e9


def test_grows_linearly_with_rows_and_tokens():
    few, many = (memory(LLAMA_8B, tokens=100, rows=rows, steps=5).activations for rows in (5, 20))
    assert many == 4 * few
    assert memory(LLAMA_8B, tokens=200, rows=5, steps=5).activations == 2 * few


def test_finds_the_rows_that_fit():
    rows = rows_within(LLAMA_8B, 60 * 10**9, tokens=150, steps=5)
    assert rows % 5 == 0
    assert memory(LLAMA_8B, tokens=150, rows=rows, steps=5).total <= 60e9
    assert memory(LLAMA_8B, tokens=150, rows=rows + 5, steps=5).total > 60e9
    with pytest.raises(UsageError, match="one prompt of 150 tokens"):
        rows_within(LLAMA_8B, 10**6, tokens=150, steps=5)
