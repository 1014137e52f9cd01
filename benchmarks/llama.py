"""Llamas of random weights, of the sizes that the benchmarks are about."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def random_llama(
    *,
    vocabulary: int,
    width: int,
    hidden: int,
    layers: int,
    heads: int,
    groups: int,
    dtype: torch.dtype = torch.float32,
) -> LlamaForCausalLM:
    """Made in its dtype at once: a model that was larger before would hide what a way takes."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM._from_config(config, dtype=dtype).eval()
