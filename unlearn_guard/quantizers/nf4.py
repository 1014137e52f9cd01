"""NF4 by bitsandbytes: blocks of 64 weights, no double quantization (QLoRA, arXiv 2305.14314)."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers import experts
from unlearn_guard.quantizers.coverage import coverage, named
from unlearn_guard.quantizers.grid import BLOCK
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


class NF4:
    """bitsandbytes' NF4, as `load_in_4bit` with `bnb_4bit_quant_type="nf4"` gives it."""

    name = "nf4"
    bits = 4
    calibrated = False
    levels = "nf4"
    """The library's name of the sixteen levels."""
    double = False
    """Whether the block scales are themselves stored in 8 bits."""

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Format, block size and the versions of the two libraries that decide."""
        versions = {name: importlib.metadata.version(name) for name in ("bitsandbytes", "transformers")}
        return {
            "quantizer": self.name,
            "block": BLOCK,
            "double_quantization": self.double,
            "experts": "one matrix each",  # what an earlier release stored of a mixture had them in full precision
            "versions": versions,
        }

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:  # noqa: ARG002 - NF4 looks at no data
        """Quantize while loading, save, and compare what was saved with bitsandbytes' own kernel, layer by layer.

        Everything is saved under the model's own names, the experts of a mixture in a file of their own.
        """
        from transformers import BitsAndBytesConfig

        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.levels,  # the library's default is FP4
            bnb_4bit_use_double_quant=self.double,
            bnb_4bit_compute_dtype=placement.dtype,
        )
        # "auto": what is not quantized is saved in the dtype it came in, bit for bit.
        loading = Placement(device_map=placement.device_map, dtype=placement.cast)
        model = load_model(checkpoint.path, loading, quantization_config=config)
        taken = experts.take_out(model, coverage(checkpoint.path).experts)
        model.save_pretrained(out, save_original_format=False)
        experts.write(taken, out)
        del model
        _assert_codes(checkpoint, out, placement.cast, levels=self.levels, double=self.double)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """The saved codes, computing in the placement's dtype, or products in its `compute` and the rest in its dtype.

        On a CPU with bf16 instructions bitsandbytes would, in inference mode, round activations and
        block scales to bf16 without being asked, so that scores depend on the machine; that kernel is
        switched off and every layer computes in the dtype asked for.
        """
        from bitsandbytes.nn import Linear4bit

        files, stacked = directory_tensors(checkpoint.path), coverage(checkpoint.path).experts
        packed = [name for name in stacked if f"{name}.absmax" in files]
        if len(packed) != len(stacked):
            left = [name for name in stacked if name not in packed]
            raise QuantizationError(f"{checkpoint.path}: {len(left)} stacks of experts are not in nf4: {named(left)}")
        model = load_model(checkpoint.path, placement, elsewhere=stacked)
        found = {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}
        layers = list(found.values())
        if not layers:
            raise QuantizationError(f"{checkpoint.path} loads without a single 4-bit layer")
        assert_complete(checkpoint.path, found, self.name)
        for parameter in model.parameters():
            if parameter.is_floating_point():  # transformers leaves them in the dtype they were saved in
                parameter.data = parameter.data.to(placement.dtype)
        for layer in layers:
            layer.compute_dtype = placement.compute or placement.dtype
            layer.compute_type_is_set = True
            layer.support_avx512bf16_for_cpu = False
            self._assert_kind(checkpoint.path, layer.weight.quant_state)
        computing = placement.dtype if isinstance(placement.dtype, torch.dtype) else model.dtype
        for layer in layers:
            layer.weight.quant_state.dtype = computing  # else unpacked weights are rounded to the stored dtype
        experts.put_in(model, files, stacked, computing)
        return model

    def _assert_kind(self, path: Path, state: Any) -> None:
        """Double quantization rounds the scales alone: `nf4` takes it too, `nf4-dq` takes nothing else."""
        if state.quant_type != self.levels or (self.double and not state.nested):
            kind = state.quant_type if state.quant_type != self.levels else f"{state.quant_type} (scales in fp32)"
            raise QuantizationError(f"{path} holds {kind} weights where {self.name} was asked for")


def _assert_codes(
    source: Checkpoint, written: Path, cast: torch.dtype | str = "auto", *, levels: str = "nf4", double: bool = False
) -> None:
    """Every packed code and block scale is what `quantize_4bit` makes of the source; the rest is the source's."""
    from bitsandbytes.functional import quantize_4bit

    source_files, written_files = stored_tensors(source), directory_tensors(written)
    found = coverage(source.path)
    for name in found.units:
        weight = read_weight(source_files, name, found)
        weight = weight if isinstance(cast, str) else weight.to(cast)
        if name in found.experts:
            codes, absmax = experts.pack(weight)
        else:
            codes, state = quantize_4bit(weight, blocksize=BLOCK, quant_type=levels, compress_statistics=double)
            absmax = state.absmax
        same_codes = torch.equal(codes.flatten().cpu(), read_tensor(written_files, name).flatten())
        if not same_codes or not torch.equal(absmax.cpu(), read_tensor(written_files, f"{name}.absmax")):
            raise QuantizationError(
                f"{name}: the saved {levels.upper()} weights are not those of bitsandbytes' quantize_4bit"
            )
    quantized = set(found.units)
    assert_untouched(source_files, written_files, [name for name in source_files if name not in quantized])
