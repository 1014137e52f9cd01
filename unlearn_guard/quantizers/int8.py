"""LLM.int8() by bitsandbytes: rows of 8-bit weights, and 8-bit activations but for outliers (arXiv 2208.07339)."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.layers import (
    assert_complete,
    assert_untouched,
    directory_tensors,
    load_model,
    read_tensor,
    read_weight,
    stored_tensors,
)
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest
from unlearn_guard.records import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Int8:
    """`load_in_8bit`, with the library's own threshold of 6.0; it computes with activations rounded to fp16."""

    name = "int8"
    bits = 8
    calibrated = False

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Format and the versions of the two libraries that decide."""
        versions = {name: importlib.metadata.version(name) for name in ("bitsandbytes", "transformers")}
        return {"quantizer": self.name, "versions": versions}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:  # noqa: ARG002 - it looks at no data
        """Quantize while loading, save, and compare what was saved with bitsandbytes' own kernel, layer by layer."""
        from transformers import BitsAndBytesConfig

        loading = Placement(device_map=placement.device_map, dtype=placement.cast)
        model = load_model(checkpoint.path, loading, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
        model.save_pretrained(out, save_original_format=False)
        del model
        _assert_codes(checkpoint, out, placement.cast)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """The saved codes, with the library's kernels."""
        from bitsandbytes.nn import Linear8bitLt

        model = load_model(checkpoint.path, placement)
        found = [name for name, module in model.named_modules() if isinstance(module, Linear8bitLt)]
        if not found:
            raise QuantizationError(f"{checkpoint.path} loads without a single 8-bit layer")
        assert_complete(checkpoint.path, found, self.name)
        for parameter in model.parameters():
            if parameter.is_floating_point():  # transformers leaves them in the dtype they were saved in
                parameter.data = parameter.data.to(placement.dtype)
        return model


def _assert_codes(source: Checkpoint, written: Path, cast: torch.dtype | str) -> None:
    """Every row of codes and its scale is what the library makes of the source; the rest is the source's."""
    from bitsandbytes.functional import int8_vectorwise_quant

    source_files, written_files = stored_tensors(source), directory_tensors(written)
    found = coverage(source.path)
    for name in found.units:
        weight = read_weight(source_files, name, found)
        weight = weight if isinstance(cast, str) else weight.to(cast)
        codes, scales, _ = int8_vectorwise_quant(weight.to(torch.float16))  # the library's kernels take fp16
        same = torch.equal(codes, read_tensor(written_files, name))
        if not same or not torch.equal(scales, read_tensor(written_files, f"{name.removesuffix('.weight')}.SCB")):
            raise QuantizationError(f"{name}: the saved 8-bit weights are not those of int8_vectorwise_quant")
    quantized = set(found.units)
    assert_untouched(source_files, written_files, [name for name in source_files if name not in quantized])
