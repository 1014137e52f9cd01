"""A GGUF file of a tiny model, written by the package gguf as llama.cpp's converter would."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

TEXTS = ("The capital of France is Paris", "the river runs to the sea", "In 2024 it was 12 degrees", "Zürich")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
    "initializer_range": 0.2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 50_000.0},
}
ROPES = {"full_attention": SIZES["rope_parameters"], "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("llama", {}, {}),
    "tied llama": ("llama", {"tie_word_embeddings": True}, {}),
    "mistral": ("llama", {"sliding_window": 8}, {"attention.sliding_window": 8}),
    "qwen2": ("qwen2", {}, {}),
    "qwen3": ("qwen3", {"head_dim": 32}, {"attention.key_length": 32, "attention.value_length": 32}),
    "gemma3": (
        "gemma3",
        {
            "tie_word_embeddings": True,
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": 8,
            "num_hidden_layers": 7,
            "rope_parameters": ROPES,
        },
        {"attention.key_length": 32, "attention.value_length": 32, "attention.sliding_window": 8},
    ),
    "phi3": ("phi3", {"sliding_window": 8}, {"attention.sliding_window": 8, "rope.dimension_count": 16}),
}
"""By family: llama.cpp's name, what its config has beside SIZES, and the keys that say so."""

_TYPES = {"tied llama": "llama", "gemma3": "gemma3_text"}


def vocabulary() -> Tokenizer:
    """A byte-level vocabulary with a few merges."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def tiny(family: str, **more: Any) -> Any:
    """A model with random weights in float32, norms and biases too."""
    torch.manual_seed(5)
    name = _TYPES.get(family, family)
    config = CONFIG_MAPPING[name](**{**SIZES, **FAMILIES[family][1], "vocab_size": 320, **more})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.normal_(0.0 if name == "gemma3_text" else 1.0, 0.2)
                parameter.copy_((parameter * 1024).round() / 1024)  # exact when 1 is added, as Gemma's norms are stored
    return model


def write(
    path: Path,
    family: str,
    model: Any,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    *,
    pre: str | None = None,
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray[Any, Any]] | None = None,
    without: tuple[str, ...] = (),
) -> Path:
    """Write the model; `keys` and `tensors` are added, `without` names what is left out."""
    arch, _, said = FAMILIES[family]
    writer = gguf.GGUFWriter(path, arch)
    _describe(writer, arch, model.config, {**said, **(keys or {})})
    _tokenizer(writer, pre or ("qwen2" if arch == "qwen2" else "gpt-2"))
    names = gguf.get_tensor_name_map(_architecture(arch), model.config.num_hidden_layers)
    stored = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        del stored["lm_head.weight"]
    for name, tensor in stored.items():
        put = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert put is not None, name
        if put not in without:
            _add(writer, arch, put, tensor, model.config, kind)
    for name, values in (tensors or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _architecture(arch: str) -> gguf.MODEL_ARCH:
    return next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == arch)


def _describe(writer: gguf.GGUFWriter, arch: str, config: Any, said: Mapping[str, Any]) -> None:
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    found = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": rope["rope_theta"],
    }
    if arch == "llama":
        found |= {"rope.dimension_count": config.head_dim, "vocab_size": config.vocab_size}
    found |= said
    for key, value in found.items():
        add = {float: writer.add_float32, str: writer.add_string, bool: writer.add_bool}.get(
            type(value), writer.add_uint32
        )
        add(f"{arch}.{key}", value)


def _tokenizer(writer: gguf.GGUFWriter, pre: str) -> None:
    made = vocabulary()
    tokens = [token for token, _ in sorted(made.get_vocab().items(), key=lambda pair: pair[1])]
    tokens += [f"[PAD{number}]" for number in range(len(tokens), 320)]
    merges = json.loads(made.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 5 if token.startswith("[PAD") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ '<|im_start|>' + m['content'] + '<|im_end|>' }}{% endfor %}")


def _add(
    writer: gguf.GGUFWriter, arch: str, name: str, tensor: torch.Tensor, config: Any, kind: gguf.GGMLQuantizationType
) -> None:
    values = tensor.detach().numpy().astype(np.float32)
    if arch == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
        # llama.cpp's own line, the way to the file
        values = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2)
        values = values.reshape(tensor.shape)
    if arch == "gemma3" and name.endswith("norm.weight"):
        values = values + np.float32(1)
    values = np.ascontiguousarray(values)
    if values.ndim < 2:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
