"""What the package compressed-tensors itself stores of a matrix: the oracle of the formats that round to nearest."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.fp8 import FP8, FP8Tensor
from unlearn_guard.quantizers.mxfp4 import MXFP4
from unlearn_guard.quantizers.nvfp4 import NVFP4
from unlearn_guard.quantizers.rounded import Rounded
from unlearn_guard.quantizers.rtn4 import RTN4, RTN4Group32, RTN4Group64

FORMATS = [RTN4(), RTN4Group64(), RTN4Group32(), FP8(), FP8Tensor(), MXFP4(), NVFP4()]
SHAPES = {"layer": (48, 256)}


def by_the_library(form: Rounded, matrix: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the package compressed-tensors itself makes of a matrix: its observer's rule, its quantizer, its packing."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    said: dict[str, Any] = dict(form.weights(SHAPES))
    for key in ("scale_dtype", "zp_dtype"):
        if key in said:
            said[key] = getattr(torch, said[key].removeprefix("torch."))
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(symmetric=True, dynamic=False, **said))
    group, state = said.get("group_size"), {"weight": matrix}
    blocks = matrix.unflatten(-1, (-1, group)) if group else matrix
    kept = {"dim": -1, "keepdim": not group}
    low, high = blocks.amin(**kept), blocks.amax(**kept)
    if said["strategy"] == "tensor":
        low, high = matrix.min(), matrix.max()
    if said["strategy"] == "tensor_group":
        state["weight_global_scale"] = generate_gparam(matrix.min(), matrix.max())
    scale, zero = calculate_qparams(low, high, scheme.weights, state.get("weight_global_scale"))
    made = BaseCompressor.get_value_from_registry(form.layout).compress(
        state | {"weight_scale": scale, "weight_zero_point": zero}, scheme
    )
    return {name: value for name, value in made.items() if name != "weight_zero_point"}


def save(form: Rounded, source: Path, out: Path, **cast: torch.dtype) -> Path:
    """A model as llm-compressor saves it: what the library makes of each layer, the head left out."""
    made = load_file(source / "model.safetensors")
    for layer in coverage(source).linears:
        matrix = made.pop(f"{layer}.weight").to(**cast)
        made |= {f"{layer}.{end}": value.contiguous() for end, value in by_the_library(form, matrix).items()}
    for name in [name for name in made if name.endswith(("norm.weight", "embed_tokens.weight", "lm_head.weight"))]:
        made[name] = made[name].to(**cast)
    shutil.copytree(source, out)
    save_file(made, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": form.layout,
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {**form.weights(coverage(source).linears)}}},
        "ignore": ["lm_head"],
    }
    (out / "config.json").write_text(json.dumps(config))
    return out
