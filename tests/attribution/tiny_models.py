"""Randomly initialised models of every supported family, small enough for the literal version."""

import torch
from transformers import AutoModelForCausalLM

from tests.families import config
from unlearn_guard.attribution.prompts import Pair

LAYERS, HEADS, GROUPS, VOCABULARY = 3, 4, 2, 61
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")
_OWN = {
    "gemma2": {
        "query_pre_attn_scalar": ...,
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": 5.0,
        "sliding_window": 4,
    },
    "gemma3_text": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "mistral": {"sliding_window": 4},
    "llama": {"attention_bias": True},
}


def tiny(family, *, seed=0, layers=LAYERS, **changes):
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "attn_implementation": "eager",
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
    }
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config(family, **{**settings, **_OWN.get(family, {}), **changes}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms and biases start as ones and zeros, which would hide a missing factor
                parameter.add_(0.3 * torch.randn_like(parameter))
            assert parameter.isfinite().all(), name
    return model.eval()


def random_pairs(count, *, length=7, seed=1, wrong=3, vocabulary=VOCABULARY):
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for item in range(count):
        clean = torch.randint(3, vocabulary, (length,), generator=generator).tolist()
        corrupted = list(clean)
        for position in (1, length // 2):
            corrupted[position] = 3 + (clean[position] + 5) % (vocabulary - 3)
        answers = torch.randperm(vocabulary, generator=generator)[: wrong + 1].tolist()
        pairs.append(
            Pair(
                clean=tuple(clean),
                corrupted=tuple(corrupted),
                target=answers[0],
                wrong=tuple(answers[1:]),
                where=f"pair {item}",
            )
        )
    return pairs
