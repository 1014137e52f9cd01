"""A checkpoint as a GGUF file: llama.cpp's names, order of rotary dimensions and rounding, a tensor at a time."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.ggml import Array, encode
from unlearn_guard.quantizers.gguf_header import ARCHITECTURES, keys_of, rope_factors
from unlearn_guard.quantizers.gguf_mix import FILE_TYPES, kind_of
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.records import StoredTensor

if TYPE_CHECKING:
    from gguf import GGUFWriter

ROPE_FACTORS = "rope_freqs.weight"
_NORMAL = 1
"""llama.cpp's type of a token that is text."""


def gguf_names(source: Iterable[str], config: Any) -> dict[str, str]:
    """The model's own name of each of these tensors by the one that llama.cpp has; a tied head is not stored.

    Raises QuantizationError for a parameter that llama.cpp has no place for.
    """
    import gguf

    architecture = next(
        key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == ARCHITECTURES[config.model_type]
    )
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    found: dict[str, str] = {}
    for name in source:
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        put = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if put is None or put in found:
            raise QuantizationError(f"{name} has no place of its own in llama.cpp's {ARCHITECTURES[config.model_type]}")
        found[put] = name
    return found


def as_llama_cpp(weight: torch.Tensor, name: str, config: Any) -> Array:
    """A parameter as llama.cpp keeps it, in fp32."""
    architecture = ARCHITECTURES[config.model_type]
    if architecture == "llama" and name.split(".")[-2] in ("attn_q", "attn_k"):
        heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
        # It interleaves the two halves of the rotary dimensions; transformers keeps them apart.
        weight = weight.view(heads, 2, -1, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
    values: Array = weight.float().contiguous().numpy()
    if architecture == "gemma3" and name.endswith("norm.weight"):
        values = values + np.float32(1)  # it stores what Gemma multiplies by, Gemma what it adds to 1
    return values


def write(
    source: Mapping[str, StoredTensor], config: Any, file: Path, recipe: str, cast: torch.dtype | str = "auto"
) -> None:
    """Write the file. `cast` is the dtype that weights are rounded to before they are quantized; "auto" is none."""
    import gguf

    names, shapes = gguf_names(source, config), {}
    writer = gguf.GGUFWriter(file, ARCHITECTURES[config.model_type])
    _describe(writer, config, recipe)
    for put, name in names.items():
        shapes[put] = source[name].shape
        _announce(writer, put, shapes[put], kind(recipe, put, shapes[put], config))
    factors = rope_factors(config)
    if factors is not None:
        _announce(writer, ROPE_FACTORS, factors.shape, "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, stored in stored_as(source, config, recipe, cast):
        writer.write_tensor_data(stored)
    if factors is not None:
        writer.write_tensor_data(factors)
    writer.close()


def stored_as(
    source: Mapping[str, StoredTensor], config: Any, recipe: str, cast: torch.dtype | str
) -> Iterator[tuple[str, Array]]:
    """Each tensor's bytes by llama.cpp's name, one after the other."""
    for put, name in gguf_names(source, config).items():
        weight = read_tensor(source, name)
        weight = weight if isinstance(cast, str) else weight.to(cast)
        values = as_llama_cpp(weight, put, config)
        chosen = kind(recipe, put, source[name].shape, config)
        yield put, values if values.ndim < 2 or chosen == "F32" else encode(values, chosen)


def code_bytes(directory: Path) -> dict[str, int]:
    """By the model's own name, the bytes of each matrix's codes in the directory's GGUF file, without their scales."""
    import gguf
    from transformers import AutoConfig

    (file,) = directory.glob("*.gguf")
    kinds = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    names = gguf_names(coverage(directory).units, config)
    return {
        own: int(kinds[put].n_elements) * int(re.sub(r"\D*(\d+).*", r"\1", kinds[put].tensor_type.name)) // 8
        for put, own in names.items()
        if put in kinds
    }


def kind(recipe: str, name: str, shape: tuple[int, ...], config: Any) -> str:
    """The type that this recipe gives the tensor."""
    return kind_of(recipe, name, shape, layers=config.num_hidden_layers, tied=config.tie_word_embeddings)


def _announce(writer: "GGUFWriter", name: str, shape: tuple[int, ...], kind: str) -> None:
    import gguf

    number = gguf.GGMLQuantizationType[kind]
    if kind == "F32":
        writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
        return
    stored = gguf.quant_shape_to_byte_shape(shape, number)
    writer.add_tensor_info(name, stored, np.dtype(np.uint8), int(np.prod(stored)), raw_dtype=number)


def _describe(writer: "GGUFWriter", config: Any, recipe: str) -> None:
    architecture = ARCHITECTURES[config.model_type]
    writer.add_file_type(FILE_TYPES[recipe])
    writer.add_quantization_version(2)
    for key, value in keys_of(config).items():
        add = {float: writer.add_float32, str: writer.add_string}.get(type(value), writer.add_uint32)
        add(f"{architecture}.{key}", value)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{number}>" for number in range(config.vocab_size)])
    writer.add_token_scores([0.0] * config.vocab_size)
    writer.add_token_types([_NORMAL] * config.vocab_size)
