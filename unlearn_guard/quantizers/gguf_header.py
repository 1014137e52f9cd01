"""What a GGUF file says of a model's computation, from transformers' config; and which models that can be said of.

The vocabulary that is written is one of placeholders: questions are put in token ids, and a tokenizer's rules are not
carried over. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's converter.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearn_guard.errors import Defect

ARCHITECTURES: Mapping[str, str] = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
}
"""llama.cpp's name of an architecture, by `model_type`."""

_ACTIVATIONS = {"gemma3": ("gelu_pytorch_tanh",)}
_ROPES = ("default", "linear", "llama3")
_NO_SWITCH = ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention")


def checkpoint_refusals(checkpoint: Path) -> tuple[Defect, ...]:
    """Why this checkpoint cannot be written as a GGUF file here; empty where it can."""
    from transformers import AutoConfig

    return refusals_of(AutoConfig.from_pretrained(checkpoint, trust_remote_code=False, local_files_only=True))


def refusals_of(config: Any) -> tuple[Defect, ...]:
    """Why a model of this config cannot be written as a GGUF file here; empty where it can."""
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        return (Defect(where="model_type", found=config.model_type, expected=f"one that is converted: {known}"),)
    return tuple(_odd(config, ARCHITECTURES[config.model_type]))


def _odd(config: Any, architecture: str) -> Iterator[Defect]:
    activation = getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)
    expected = _ACTIVATIONS.get(architecture, ("silu", "swish"))
    if activation not in expected:
        yield Defect(where="hidden_act", found=str(activation), expected=f"{expected[0]}, which llama.cpp computes")
    for where, rope in _ropes(config).items():
        if rope.get("rope_type", "default") not in _ROPES:
            yield Defect(where=where, found=str(rope.get("rope_type")), expected=f"one of {', '.join(_ROPES)}")
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    if architecture != "gemma3" and window is not None and window < config.max_position_embeddings:
        found = f"{window} of {config.max_position_embeddings} tokens"
        yield Defect(where="sliding_window", found=found, expected="none: llama.cpp looks at all tokens")
    widths = {config.hidden_size, config.intermediate_size, head_width(config) * config.num_attention_heads}
    if odd := sorted(width for width in widths if width % 32):
        yield Defect(where="input widths", found=", ".join(map(str, odd)), expected="multiples of 32")
    for switch in _NO_SWITCH:
        if getattr(config, switch, None):
            yield Defect(where=switch, found=str(getattr(config, switch)), expected="none")


def keys_of(config: Any) -> dict[str, Any]:
    """The metadata below the architecture's name. Of a config without `refusals_of`."""
    architecture, head = ARCHITECTURES[config.model_type], head_width(config)
    rope = _ropes(config)["full_attention"]
    found: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads or config.num_attention_heads,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "attention.key_length": head,
        "attention.value_length": head,
        "rope.dimension_count": int(head * rope.get("partial_rotary_factor", 1.0)),
        "rope.freq_base": float(rope["rope_theta"]),
    }
    if rope.get("rope_type") == "linear":
        found |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if architecture == "gemma3":
        found["attention.sliding_window"] = config.sliding_window
    if architecture == "phi3":
        found["rope.scaling.original_context_length"] = config.max_position_embeddings
    return found


def head_width(config: Any) -> int:
    """Dimensions of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rope_factors(config: Any) -> "np.ndarray[Any, Any] | None":
    """By what each rotary wavelength is stretched, head / 2 numbers, where the rope is Llama 3's; else None.

    Source: llama.cpp's convert_hf_to_gguf.py.
    """
    rope, head = _ropes(config)["full_attention"], head_width(config)
    if rope.get("rope_type") != "llama3":
        return None
    waves = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, head, 2) / head)
    low, high, trained = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    smooth = np.clip((trained / waves - low) / (high - low), 0.0, 1.0)
    factors: np.ndarray[Any, Any] = (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)
    return factors


def _ropes(config: Any) -> Mapping[str, Mapping[str, Any]]:
    ropes = config.rope_parameters
    return ropes if "full_attention" in ropes else {"full_attention": ropes}
