"""Thirty families of causal language models and more, at a size that builds in a moment."""

from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

SIZES: dict[str, Any] = {
    "vocab_size": 44,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": None,
    "tie_word_embeddings": False,
    "initializer_range": 0.1,
}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": 96, "n_ctx": 64}

_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
_VISION |= {"image_size": 28, "patch_size": 14}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"vocab_size": 300},
    "qwen3": {},
    "gemma": {"pad_token_id": 0},
    "gemma2": {"pad_token_id": 0, "query_pre_attn_scalar": 16},
    "gemma3_text": {"pad_token_id": 0, "sliding_window": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": True},
    "phi": {},
    "phi3": {"pad_token_id": 0},
    "gpt_neox": {},
    "gptj": {**_GPT, "rotary_dim": 8},
    "gpt_neo": {
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "tie_word_embeddings": True,
    },
    "gpt_bigcode": _GPT,
    "gpt2": _GPT,
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64, "pad_token_id": 0},
    "bloom": {"n_layer": 2, "n_head": 4, "tie_word_embeddings": True},
    "falcon": {"new_decoder_architecture": False, "multi_query": True, "head_dim": ...},
    "olmo": {"pad_token_id": 0},
    "olmo2": {"pad_token_id": 0},
    "olmo3": {"pad_token_id": 0, "sliding_window": 16},
    "cohere": {"pad_token_id": 0, "tie_word_embeddings": True},
    "cohere2": {"pad_token_id": 0, "tie_word_embeddings": True, "sliding_window": 16},
    "starcoder2": {},
    "stablelm": {},
    "granite": {},
    "smollm3": {"pad_token_id": 0},
    "glm": {"pad_token_id": 0},
    "glm4": {"pad_token_id": 0},
    "nemotron": {},
    "exaone4": {"sliding_window": 16},
    "helium": {},
    "arcee": {},
    "persimmon": {},
    "codegen": {**_GPT, "rotary_dim": 8},
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 64},
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {**_MOE, "shared_expert_intermediate_size": 64, "pad_token_id": 0},
    "qwen3_moe": {**_MOE, "pad_token_id": 0},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "pad_token_id": 0},
    "granitemoe": {"num_local_experts": 4},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": ["full_attention"] * 2},
    "phimoe": {"num_local_experts": 4},
    "deepseek_v3": {
        **{"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        **{"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "q_lora_rank": 32, "kv_lora_rank": 32},
        **{"qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4},
    },
    "hrm_text": {},
    "gemma3": {},
    "mamba": {"state_size": 8, "expand": 2, "conv_kernel": 4, "time_step_rank": 4},
}
"""What a family needs beside SIZES; `...` leaves out what its config derives."""


def config(family: str, **more: Any) -> PreTrainedConfig:
    """A family's config with these sizes instead; the width of a head follows from them."""
    given = {**SIZES, **FAMILIES[family], **more}
    given.setdefault("head_dim", given["hidden_size"] // given["num_attention_heads"])
    if family == "gemma3":  # a wrapper: the language model is one part of it
        text = {**given, **FAMILIES["gemma3_text"], "tie_word_embeddings": False}
        given = {"text_config": text, "vision_config": _VISION, "mm_tokens_per_image": 4, "image_token_index": 40}
    return CONFIG_MAPPING[family](**{key: value for key, value in given.items() if value is not ...})
