"""A GGUF file's tensors under transformers' names, dequantized a few rows at a time.

transformers dequantizes whole tensors in float32 and copies them: 3.4 GB for Gemma 3 270M, whose checkpoint has .54.
Here the peak is the checkpoint and one block of rows.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import shown
from unlearn_guard.real.gguf_config import ROPE_FACTORS
from unlearn_guard.real.gguf_file import GgufFile, GgufTensor

ELEMENTS_AT_ONCE = 2**21
"""Weights that are held in float32 at a time."""

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OTHERWISE: Mapping[str, Mapping[str, str]] = {
    "gemma3": {
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
    "phi3": {"ffn_up": "mlp.gate_up_proj"},
}
_PLACE = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)|(\w+)\.(weight|bias)")


def fill(model: Any, file: GgufFile, dtype: torch.dtype) -> None:
    """Give a model without storage the file's weights in `dtype`.

    Every parameter gets exactly one tensor of its own shape, and every tensor goes somewhere: else CheckpointError
    with all that is missing, unknown or of another shape. So it is for weights that are not finite.
    """
    places = {
        parameter(file.architecture, name): tensor for name, tensor in file.tensors.items() if name != ROPE_FACTORS
    }
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del wanted["lm_head.weight"]
    _assert_exact(places, wanted, file)
    model.load_state_dict({name: _dequantized(file, each, model, dtype) for name, each in places.items()},
                          strict=False, assign=True)  # fmt: skip
    model.tie_weights()
    left = [name for name, tensor in model.state_dict().items() if tensor.is_meta or tensor.dtype != dtype]
    if left:
        raise CheckpointError(f"{file.path.name} leaves parameters without weights: {', '.join(left[:8])}")


def parameter(architecture: str, name: str) -> str:
    """The name that transformers has for a tensor; one without a place keeps its own, which is then found unknown."""
    found = _PLACE.fullmatch(name)
    if found is None:
        return name
    layer, inner, kind, top, top_kind = found.groups()
    if layer is None:
        return f"{_TOP[top]}.{top_kind}" if top in _TOP else name
    names = {**_BLOCK, **_OTHERWISE.get(architecture, {})}
    return f"model.layers.{int(layer)}.{names[inner]}.{kind}" if inner in names else name


def _assert_exact(places: Mapping[str, GgufTensor], wanted: Mapping[str, tuple[int, ...]], file: GgufFile) -> None:
    defects = []
    for name in sorted({*places, *wanted}):
        found, expected = places.get(name), wanted.get(name)
        if found is None:
            defects.append(Defect(where=name, found="no tensor in the file", expected=f"one of shape {expected}"))
        elif expected is None:
            where = shown(found.name)
            defects.append(Defect(where=where, found="a tensor that the model has no place for", expected="none"))
        elif found.shape != expected:
            defects.append(Defect(where=name, found=f"shape {found.shape}", expected=f"{expected}"))
    if defects:
        raise CheckpointError(f"{file.path.name} does not hold exactly the model that it describes", defects[:32])


def _dequantized(file: GgufFile, tensor: GgufTensor, model: Any, dtype: torch.dtype) -> Tensor:
    from gguf import GGMLQuantizationType, dequantize

    rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
    raw = np.memmap(file.path, np.uint8, "r", tensor.start, (rows, (tensor.stop - tensor.start) // rows))
    made = torch.empty(tensor.shape, dtype=dtype)
    flat = made.view(rows, -1)
    step = max(1, ELEMENTS_AT_ONCE // flat.shape[1])
    try:
        for first in range(0, rows, step):
            values = dequantize(np.array(raw[first : first + step]), GGMLQuantizationType(tensor.kind))
            if file.architecture == "gemma3" and tensor.name.endswith("norm.weight"):
                values = values - np.float32(1)  # llama.cpp stores what Gemma multiplies by, Gemma what it adds to 1
            flat[first : first + step] = torch.from_numpy(values)
    except NotImplementedError as error:
        raise CheckpointError(f"{shown(tensor.name)}: the package gguf does not read its type {tensor.kind}") from error
    if not made.isfinite().all():
        raise CheckpointError(f"{shown(tensor.name)} has weights that are not finite, as {dtype}")
    return _unpermuted(made, tensor, model) if file.architecture == "llama" else made


def _unpermuted(made: Tensor, tensor: GgufTensor, model: Any) -> Tensor:
    """llama.cpp interleaves the two halves of a Llama's rotary dimensions; transformers keeps them apart."""
    inner = tensor.name.split(".")[-2]
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}.get(inner)
    if heads is None:
        return made
    return made.view(heads, -1, 2, *made.shape[1:]).transpose(1, 2).reshape(made.shape).contiguous()
