"""GPTQ and AWQ files written out: codes rounded to nearest, packed as auto-gptq and autoawq pack them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

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
