"""Models loaded with the weights that their codes stand for, read here and by no library."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.layers import directory_tensors, load_model
from unlearn_guard.quantizers.protocol import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_decoded(path: Path, placement: Placement, decode: Callable[[str], Tensor]) -> "PreTrainedModel":
    """The model of a directory; `decode` gives the weight [out, in] of a layer, one at a time.

    Raises QuantizationError where what is no code is missing.
    """
    from transformers import AutoConfig

    files, found = directory_tensors(path), coverage(path)
    config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    for said in ("quantization_config", "compression_config"):
        if hasattr(config, said):
            delattr(config, said)
    more = [name.removesuffix(".weight_packed") for name in files if name.endswith(".weight_packed")]
    layers = [*found.linears, *(layer for layer in more if layer not in found.linears)]
    units = [*(f"{layer}.weight" for layer in layers), *found.experts]
    model = load_model(path, placement, elsewhere=[name for name in units if name not in files], config=config)
    for layer in layers:
        weight, held = decode(layer), model.get_submodule(layer).weight
        held.data = (weight.T.contiguous() if layer in found.transposed else weight).to(held.device, held.dtype)
    return model
