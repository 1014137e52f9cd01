"""Which layers of a model are to be quantized, and the tensors of a directory, read one at a time."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.protocol import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def linear_shapes(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """Name -> (out, in) of every linear layer but the output head, in model order: what NF4, GPTQ and AWQ quantize."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(checkpoint, trust_remote_code=False))
    head = model.get_output_embeddings()
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }


def tensor_files(directory: Path) -> dict[str, Path]:
    """Tensor name -> the safetensors file that holds it."""
    found: dict[str, Path] = {}
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as shard:
            found.update(dict.fromkeys(shard.keys(), file))
    return found


def read_tensor(files: Mapping[str, Path], name: str) -> torch.Tensor:
    """One tensor from disk, in the dtype it is stored in. QuantizationError where it is not there."""
    if name not in files:
        raise QuantizationError(f"{name} is not among the tensors that were written")
    with safe_open(files[name], framework="pt") as shard:
        tensor: torch.Tensor = shard.get_tensor(name)
    return tensor


def assert_untouched(source: Mapping[str, Path], written: Mapping[str, Path], names: list[str]) -> None:
    """Refuse a quantized directory in which one of these tensors is not the source's.

    Its dtype may be a lower one (gptqmodel stores what an fp32 model does not quantize in bf16): then the
    source's values are cast before comparing. Otherwise bit for bit.
    """
    changed = [name for name in names if not _same(read_tensor(source, name), read_tensor(written, name))]
    if changed:
        raise QuantizationError(f"the quantizer changed tensors that it does not quantize: {', '.join(changed[:5])}")


def _same(source: torch.Tensor, written: torch.Tensor) -> bool:
    return written.is_floating_point() and torch.equal(source.to(written.dtype), written)


def assert_complete(checkpoint: Path, quantized: Collection[str], precision: str) -> None:
    """Refuse a model, ours or a ready-made artifact, in which a linear layer was left out of the 4 bits."""
    missing = [layer for layer in linear_shapes(checkpoint) if layer not in quantized]
    if missing:
        raise QuantizationError(
            f"{checkpoint}: {len(missing)} linear layers are not in {precision}: {', '.join(missing[:5])}"
        )


def load_model(path: Path, placement: Placement, **options: Any) -> "PreTrainedModel":
    """A model from a local directory of safetensors: no remote code, no pickle, no network, evaluation mode."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=placement.dtype,
        device_map=placement.device_map,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        **options,
    )
    model.requires_grad_(False)
    loaded: PreTrainedModel = model.eval()
    return loaded
