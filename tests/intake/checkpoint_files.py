"""A small sound checkpoint, built from bytes alone: no torch, no network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HIDDEN, LAYERS, VOCABULARY, HEADS = 16, 24, 2, 32, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        | {"special": True}
    ],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "vocab": {f"w{i}" if i else "<unk>": i for i in range(VOCABULARY)},
        "unk_token": "<unk>",
    },
}
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "U8": 1, "I64": 8, "F8_E4M3": 1, "F8_E5M2": 1}
Raw = Mapping[str, tuple[str, tuple[int, ...], bytes]]


def shapes() -> dict[str, tuple[int, ...]]:
    found = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        found |= {f"{at}.self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        found |= {f"{at}.mlp.{name}_proj.weight": (HIDDEN, WIDTH) for name in ("gate", "up")}
        found |= {f"{at}.mlp.down_proj.weight": (WIDTH, HIDDEN)}
        found |= {f"{at}.{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    return found | {"lm_head.weight": (VOCABULARY, WIDTH)}


def weights(seed: int = 0) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    rng = np.random.default_rng(seed)
    return {
        name: ("F32", shape, rng.standard_normal(shape, dtype=np.float32).tobytes()) for name, shape in shapes().items()
    }


def encode(tensors: Raw, metadata: Mapping[str, str] | None = None, *, pad: int = 0) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    offset = 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    return framed(json.dumps(header).encode() + b" " * pad, b"".join(raw for _, _, raw in tensors.values()))


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def write(directory: Path, tensors: Raw | None = None, **documents: Any) -> Path:
    """A checkpoint; a keyword such as config={...} is merged over the sound document of that name."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.safetensors").write_bytes(encode(tensors or weights()))
    (directory / "config.json").write_text(json.dumps({**CONFIG, **documents.get("config", {})}))
    (directory / "tokenizer.json").write_text(json.dumps({**TOKENIZER, **documents.get("tokenizer", {})}))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **documents.get("settings", {})}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def shard(directory: Path, tensors: Raw, parts: int = 2, weight_map: Mapping[str, Any] | None = None) -> None:
    """Replace the weights of a checkpoint by shards and an index."""
    (directory / "model.safetensors").unlink(missing_ok=True)
    names, placed = list(tensors), {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        mine = names[part::parts]
        (directory / file).write_bytes(encode({name: tensors[name] for name in mine}, {"format": "pt"}))
        placed |= dict.fromkeys(mine, file)
    index = {"metadata": {}, "weight_map": {**placed, **(weight_map or {})}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
