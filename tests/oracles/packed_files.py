"""GPTQ and AWQ files written out: codes rounded to nearest, packed as auto-gptq and autoawq pack them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

GROUP = 32


def _words(codes: Tensor) -> Tensor:
    """Eight codes of the last dimension an int32, the first in the lowest bits."""
    words = (codes.reshape(*codes.shape[:-1], -1, 8).long() << torch.arange(0, 32, 4)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def gptq(weight: Tensor) -> dict[str, Tensor]:
    """Symmetric, groups of 32 inputs, zero points of 8 stored less one."""
    grouped = weight.float().reshape(len(weight), -1, GROUP)
    scale = (grouped.abs().amax(2) / 7.5).half().float()
    codes = ((grouped / scale[:, :, None]).round().clamp(-8, 7) + 8).reshape(weight.shape).int()
    zeros = torch.full((scale.shape[1], len(weight)), 7)
    return {
        "qweight": _words(codes).T.contiguous(),
        "qzeros": _words(zeros),
        "scales": scale.T.half().contiguous(),
        "g_idx": (torch.arange(weight.shape[1]) // GROUP).int(),
    }


def awq(weight: Tensor) -> dict[str, Tensor]:
    """With zero points; outputs interleaved 0 2 4 6 1 3 5 7."""
    grouped = weight.float().reshape(len(weight), -1, GROUP)
    low, high = grouped.amin(2).clamp(max=0), grouped.amax(2).clamp(min=0)
    scale = ((high - low) / 15).half().float()
    zero = (-low / scale).round().clamp(0, 15)
    codes = ((grouped / scale[:, :, None]).round() + zero[:, :, None]).clamp(0, 15).reshape(weight.shape)
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])

    def interleaved(values: Tensor) -> Tensor:
        return _words(values.reshape(values.shape[0], -1, 8)[:, :, order].reshape(values.shape).int())

    return {"qweight": interleaved(codes.T), "qzeros": interleaved(zero.T), "scales": scale.T.half().contiguous()}


FOLDS = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), ("input_layernorm", "post_attention_layernorm", 0.0)),
    "gemma2": ("input_layernorm", "pre_feedforward_layernorm", 1.0),
    "phi3": ("input_layernorm", "post_attention_layernorm", 0.0),
}
"""What autoawq divides before the attention and before the MLP, and what the norm adds to its weight."""


def scaled(held: Mapping[str, Tensor], family: str, spread: float) -> dict[str, Tensor]:
    """A model's weights as autoawq leaves them: inputs multiplied by channel, what comes before divided.

    Norms before queries, keys, values, gate and up; values before the output; up (or the last rows of gate and up in
    one) before down. Scales spread by e to the power `spread`.
    """
    made, generator = {name: each.clone() for name, each in held.items()}, torch.Generator().manual_seed(3)
    attention, mlp, one = FOLDS[family]
    for block in sorted({name.partition(".self_attn")[0] for name in held if ".self_attn." in name}):

        def fold(layers: tuple[str, ...], before: str, *, block: str = block) -> None:
            inside = [f"{block}.{layer}.weight" for layer in layers if f"{block}.{layer}.weight" in made]
            width = made[inside[0]].shape[1]
            scale = torch.exp(spread * torch.randn(width, generator=generator))
            for name in inside:
                made[name] = made[name] * scale
            if made[f"{block}.{before}.weight"].dim() == 1:
                made[f"{block}.{before}.weight"] = (made[f"{block}.{before}.weight"] + one) / scale - one
                return
            for end in ("weight", "bias"):
                if (name := f"{block}.{before}.{end}") in made:
                    rows = made[name][-width:]
                    made[name][-width:] = rows / scale.reshape(-1, *[1] * (rows.dim() - 1))

        fold(tuple(f"self_attn.{part}_proj" for part in ("q", "k", "v", "qkv")), attention)
        if family != "phi3":
            fold(("self_attn.o_proj",), "self_attn.v_proj")
        fold(tuple(f"mlp.{part}_proj" for part in ("gate", "up", "gate_up")), mlp)
        fold(("mlp.down_proj",), "mlp.gate_up_proj" if family == "phi3" else "mlp.up_proj")
    return made


def save(
    precision: str, source: Path, out: Path, layers: Mapping[str, object], changed: Mapping[str, Tensor] | None = None
) -> Path:
    """A model directory: these layers of `source`, or what `changed` has in their place, in the format."""
    tensors = load_file(source / "model.safetensors") | dict(changed or {})
    for layer in layers:
        pack = gptq if precision == "gptq" else awq
        tensors |= {f"{layer}.{end}": each for end, each in pack(tensors.pop(f"{layer}.weight")).items()}
    shutil.copytree(source, out)
    save_file({name: each.contiguous() for name, each in tensors.items()}, out / "model.safetensors")
    config = json.loads((out / "config.json").read_text())
    recipe = {"quant_method": precision, "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    if precision == "gptq":
        recipe = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "sym": True, "desc_act": False}
    (out / "config.json").write_text(json.dumps(config | {"quantization_config": recipe}))
    return out


def by_llm_compressor(
    precision: str, source: Path, out: Path, layers: Mapping[str, object], changed: Mapping[str, Tensor] | None = None
) -> Path:
    """The same as llm-compressor saves it: packed by the package compressed-tensors itself.

    Of `gptq` symmetric, with inputs of each layer ordered by size and a group index; of `awq` with zero points.
    """
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    said = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": precision == "gptq"}
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(dynamic=False, **said))
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    tensors = load_file(source / "model.safetensors") | dict(changed or {})
    for layer in layers:
        weight = tensors.pop(f"{layer}.weight")
        more, order = {}, torch.arange(weight.shape[1])
        if precision == "gptq":
            order = weight.abs().sum(0).argsort()
            more = {"weight_g_idx": torch.empty_like(order).scatter_(0, order, torch.arange(len(order)) // GROUP).int()}
        blocks = weight[:, order].unflatten(-1, (-1, GROUP))
        scale, zero = calculate_qparams(blocks.amin(-1), blocks.amax(-1), scheme.weights)
        state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero, **more}
        # The package divides by the scale of each input's group only where the group index says which that is.
        made = compressor.compress(state, scheme) if precision == "awq" else _ordered(compressor, state, scheme, order)
        tensors |= {f"{layer}.{end}": each for end, each in made.items()}
    shutil.copytree(source, out)
    save_file({name: each.contiguous() for name, each in tensors.items()}, out / "model.safetensors")
    recipe = {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed"}
    recipe |= {"config_groups": {"group_0": {"targets": ["Linear"], "weights": said}}, "ignore": ["lm_head"]}
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"quantization_config": recipe}))
    return out


def _ordered(compressor: Any, state: dict[str, Tensor], scheme: Any, order: Tensor) -> dict[str, Tensor]:
    """Quantized in the order that the group index gives, stored in the model's own."""
    index = state.pop("weight_g_idx")
    made = compressor.compress(state | {"weight": state["weight"][:, order]}, scheme)
    shape = made["weight_shape"]
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32

    codes = torch.empty_like(state["weight"], dtype=torch.int8)
    codes[:, order] = unpack_from_int32(made["weight_packed"], 4, shape)
    return {**made, "weight_packed": pack_to_int32(codes, 4), "weight_g_idx": index}


def unpacked_by_the_library(precision: str, made: Path, layer: str) -> Tensor:
    """The weight [out, in] that the package compressed-tensors itself makes of a layer's codes."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    files = load_file(made / "model.safetensors")
    part = {end: files.get(f"{layer}.weight_{end}") for end in ("packed", "scale", "zero_point", "shape", "g_idx")}
    codes, scale, zero = unpack_from_int32(part["packed"], 4, part["shape"]), part["scale"], part["zero_point"]
    if precision == "awq":
        zero = unpack_from_int32(zero, 4, (codes.shape[0], scale.shape[1]), packed_dim=0)
    index, said = (
        part["g_idx"],
        QuantizationArgs(num_bits=4, strategy="group", group_size=GROUP, symmetric=zero is None),
    )
    if index is None:
        return dequantize(x_q=codes, scale=scale, zero_point=zero, args=said)
    order, weight = index.argsort(stable=True), torch.empty(codes.shape)
    weight[:, order] = dequantize(x_q=codes[:, order], scale=scale, zero_point=zero, args=said)
    return weight
