"""NF4 by bitsandbytes: blocks of 64 weights, no double quantization (QLoRA, arXiv 2305.14314)."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.layers import (
    assert_complete,
    assert_untouched,
    directory_tensors,
    linear_shapes,
    load_model,
    read_tensor,
    stored_tensors,
)
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest
from unlearn_guard.records import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BLOCK = 64


class NF4:
    """bitsandbytes' NF4, as `load_in_4bit` with `bnb_4bit_quant_type="nf4"` gives it."""

    name = "nf4"
    bits = 4
    calibrated = False

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Format, block size and the versions of the two libraries that decide."""
        versions = {name: importlib.metadata.version(name) for name in ("bitsandbytes", "transformers")}
        return {"quantizer": self.name, "block": BLOCK, "double_quantization": False, "versions": versions}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:  # noqa: ARG002 - NF4 looks at no data
        """Quantize while loading, save, and compare what was saved with bitsandbytes' own kernel, layer by layer."""
        from transformers import BitsAndBytesConfig

        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",  # the library's default is FP4
            bnb_4bit_use_double_quant=False,
            bnb_4bit_compute_dtype=placement.dtype,
        )
        # "auto": what is not quantized is saved in the dtype it came in, bit for bit.
        model = load_model(
            checkpoint.path, Placement(device_map=placement.device_map, dtype="auto"), quantization_config=config
        )
        model.save_pretrained(out)
        del model
        _assert_codes(checkpoint, out)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """The saved codes, computing in the placement's dtype.

        On a CPU with bf16 instructions bitsandbytes would, in inference mode, round activations and
        block scales to bf16 without being asked, so that scores depend on the machine; that kernel is
        switched off and every layer computes in the dtype asked for.
        """
        from bitsandbytes.nn import Linear4bit

        model = load_model(checkpoint.path, placement)
        named = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
        layers = list(named.values())
        if not layers:
            raise QuantizationError(f"{checkpoint.path} loads without a single 4-bit layer")
        assert_complete(checkpoint.path, named, self.name)
        for parameter in model.parameters():
            if parameter.is_floating_point():  # transformers leaves them in the dtype they were saved in
                parameter.data = parameter.data.to(placement.dtype)
        for layer in layers:
            layer.compute_dtype = placement.dtype
            layer.compute_type_is_set = True
            layer.support_avx512bf16_for_cpu = False
            if layer.weight.quant_state.quant_type != self.name:
                found = layer.weight.quant_state.quant_type
                raise QuantizationError(f"{checkpoint.path} holds {found} weights where nf4 was asked for")
        return model


def _assert_codes(source: Checkpoint, written: Path) -> None:
    """Every linear layer's packed codes and block scales are what `quantize_4bit` makes of the source's weights."""
    from bitsandbytes.functional import quantize_4bit

    source_files, written_files = stored_tensors(source), directory_tensors(written)
    shapes = linear_shapes(source.path)
    for layer in shapes:
        name = f"{layer}.weight"
        codes, state = quantize_4bit(read_tensor(source_files, name), blocksize=BLOCK, quant_type="nf4")
        same_codes = torch.equal(codes.flatten().cpu(), read_tensor(written_files, name).flatten())
        if not same_codes or not torch.equal(state.absmax.cpu(), read_tensor(written_files, f"{name}.absmax")):
            raise QuantizationError(f"{name}: the saved NF4 weights are not those of bitsandbytes' quantize_4bit")
    assert_untouched(
        source_files, written_files, [name for name in source_files if name[: -len(".weight")] not in shapes]
    )
