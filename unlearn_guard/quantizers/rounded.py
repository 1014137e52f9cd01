"""What the formats share that round each weight to the nearest level of its group, looking at no data.

They are stored as the package compressed-tensors stores them (llm-compressor's files, which vLLM and transformers
read), so that a model made elsewhere is read here by the same lines. Weight only: a layer computes with the weights
that its codes stand for, in the placement's dtype.
"""

import importlib.metadata
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unlearn_guard.errors import Defect, QuantizationError
from unlearn_guard.quantizers.coverage import Coverage, coverage, linear_shapes, named
from unlearn_guard.quantizers.decoding import load_decoded
from unlearn_guard.quantizers.layers import (
    assert_untouched,
    directory_tensors,
    read_tensor,
    read_weight,
    stored_tensors,
)
from unlearn_guard.quantizers.nearest import lost_in, outside, roundings
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest
from unlearn_guard.records import Checkpoint, StoredTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CLIPPED = 0.79
"""llm-compressor's search for the scale of least squared error begins at 0.8 of the largest weight's."""

Stored = dict[str, Tensor]
"""What a layer is stored as, by the end of its name: `weight_packed`, `weight_scale`, ..."""


class Rounded(ABC):
    """A weight-only format of one rounding rule. A file of one says how a matrix is written and read."""

    name: str
    bits: int
    calibrated = False
    layout: str
    """compressed-tensors' name of the storage."""
    levels: Tensor
    """What codes stand for in units of their scale, fp32, each once and in order."""

    @abstractmethod
    def weights(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """The `weights` of compressed-tensors' recipe: bits, type, strategy, group size."""

    @abstractmethod
    def encode(self, weight: Tensor, group: int) -> Stored:
        """What a matrix [out, in] is stored as."""

    @abstractmethod
    def units(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """The level that each code stands for, fp32 [out, in]."""

    @abstractmethod
    def scales(self, stored: Stored) -> Tensor:
        """What a level is multiplied by, fp32 [out or 1, groups of inputs]."""

    def decode(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """The fp32 matrix [out, in] that is computed with; a file's group size follows from its scales."""
        scales = self.scales(stored)
        units = self.units(stored, shape).reshape(len(scales), scales.shape[1], -1)
        return (units * scales[:, :, None]).reshape(shape)

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """The rounding rule; of libraries only those decide that load and compute."""
        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
        return {"quantizer": self.name, "rule": 1, **self.weights(shapes), "versions": versions}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:  # noqa: ARG002 - it looks at no data
        """Write every linear layer's codes and the rest as it is; then read it all back from disk."""
        from safetensors.torch import save_file

        found, source = coverage(checkpoint.path), stored_tensors(checkpoint)
        group = self._group(linear_shapes(checkpoint.path))
        tensors: Stored = {}
        for name in source:
            if name not in found.units:
                tensors[name] = read_tensor(source, name)
                continue
            weight = _cast(read_weight(source, name, found), placement.cast)
            layer = name.removesuffix(".weight")
            stored = _as_the_model_has_it(self.encode(weight, group), layer, found)
            tensors |= {f"{layer}.{end}": each for end, each in stored.items()}
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
        del tensors
        self._write_config(checkpoint.path, out)
        self._assert_written(checkpoint, found, out, group, placement.cast)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """The model with the weights that its codes stand for; one layer's codes are read at a time."""
        files, found = directory_tensors(checkpoint.path), coverage(checkpoint.path)

        def decode(layer: str) -> Tensor:
            return self.decode(self.stored(files, layer, found), found.linears[layer])

        return load_decoded(checkpoint.path, placement, decode)

    def stored(self, files: Mapping[str, StoredTensor], layer: str, found: Coverage) -> Stored:
        """Everything that a directory holds of one layer's weight. QuantizationError where it is not in this format."""
        ends = [name.rpartition(".")[2] for name in files if name.rpartition(".")[0] == layer]
        held = {end: read_tensor(files, f"{layer}.{end}") for end in ends if end.startswith("weight")}
        if "weight_scale" not in held:
            raise QuantizationError(f"{layer} is not in {self.name}: it holds {named(sorted(held)) or 'nothing'}")
        return _as_the_model_has_it(held, layer, found)

    def differences(self, artifact: Path, candidate: Checkpoint, *, clipped: bool = False) -> Iterator[Defect]:
        """What in a ready-made model is not the candidate rounded to this format, each layer by its name.

        Weights may have been rounded to half precision first, and a library that divides in bf16 takes the
        neighbouring code of what lies near a boundary, nothing else. `clipped`: the recipe says that scales were
        sought below the largest weight's.
        """
        found, files, source = coverage(candidate.path), directory_tensors(artifact), stored_tensors(candidate)
        group = self._group(found.linears)
        for name in found.units:
            weight = read_weight(source, name, found)
            stored = self.stored(files, name.removesuffix(".weight"), found)
            expected = self.encode(weight, group)
            if misfit := _misfit(stored, expected, weight.shape):
                yield Defect(where=name, found=misfit, expected=f"the candidate's in {self.name}")
                continue
            stored = {end: value.reshape(expected[end].shape) for end, value in stored.items() if end in expected}
            counted = [self.count_wrong(stored, each, group, clipped) for each in roundings(weight)]
            if (0, 0) not in counted:
                codes, scales = min(counted, key=sum)
                told = f"{codes} of {weight.numel()} codes and {scales} scales of other weights"
                yield Defect(where=name, found=told, expected=f"the candidate's in {self.name}")

    def count_wrong(self, stored: Stored, weight: Tensor, group: int, clipped: bool) -> tuple[int, int]:
        """How many codes, and how many scales, do not follow from a weight [out, in]."""
        scales = self.scales(stored)
        slack = lost_in(weight.dtype, stored["weight_scale"].dtype)
        grouped = weight.float().reshape(len(scales), scales.shape[1], -1)
        units = self.units(stored, (weight.shape[0], weight.shape[1])).reshape(grouped.shape)
        wrong = outside(grouped / scales[:, :, None], units, self.levels, slack)
        # torch takes a number over a tensor as the tensor's reciprocal times the number: two roundings
        unlike = self.other_scales(stored, weight, group, 2 * slack, _CLIPPED if clipped else 1.0)
        return int(wrong.sum()), int((unlike & (grouped.abs().amax(2) > 0)).sum())

    def other_scales(self, stored: Stored, weight: Tensor, group: int, slack: float, least: float) -> Tensor:
        """Which scales are not this rule's, bool; they may be smaller, down to `least` of them."""
        scales, own = self.scales(stored), self.scales(self.encode(weight, group))
        return ~((scales >= own * least * (1 - slack)) & (scales <= own * (1 + slack)))

    def _group(self, shapes: Mapping[str, tuple[int, int]]) -> int:
        return int(self.weights(shapes).get("group_size") or 0)

    def _write_config(self, source: Path, out: Path) -> None:
        shapes = linear_shapes(source)
        groups = {"group_0": {"targets": ["Linear"], "weights": {**self.weights(shapes), "symmetric": True}}}
        kept = [layer for layer in ("lm_head",) if layer not in shapes]
        said: dict[str, Any] = {"quant_method": "compressed-tensors", "quantization_status": "compressed"}
        said |= {"format": self.layout, "config_groups": groups, "ignore": kept}
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        (out / "config.json").write_text(json.dumps({**config, "quantization_config": said}, indent=2) + "\n")

    def _assert_written(
        self, source: Checkpoint, found: Coverage, out: Path, group: int, cast: torch.dtype | str
    ) -> None:
        source_files, written = stored_tensors(source), directory_tensors(out)
        for name in found.units:
            weight = _cast(read_weight(source_files, name, found), cast)
            read = self.stored(written, name.removesuffix(".weight"), found)
            expected = self.encode(weight, group)
            if read.keys() != expected.keys() or not all(same(read[end], each) for end, each in expected.items()):
                raise QuantizationError(f"{name}: what was saved is not its rounding to {self.name}")
            if not self.decode(read, (weight.shape[0], weight.shape[1])).isfinite().all():
                raise QuantizationError(f"{name}: rounded to {self.name} it is not finite")
        assert_untouched(source_files, written, [name for name in source_files if name not in found.units])


def _misfit(stored: Stored, expected: Stored, shape: torch.Size) -> str | None:
    """Why what is stored cannot be this format's of a weight of this shape."""
    more = sorted(stored.keys() - expected.keys() - {"weight_shape"})
    less = sorted(expected.keys() - stored.keys() - {"weight_shape"})
    if more or less:
        return f"{named(more) or 'nothing'} stored too, {named(less) or 'nothing'} left out: another rule"
    if "weight_shape" in stored and stored["weight_shape"].tolist() != list(shape):
        return f"codes of a matrix {stored['weight_shape'].tolist()}, not {list(shape)}"
    for end in expected.keys() - {"weight_shape"}:
        one, other = stored[end], expected[end]
        codes = end in ("weight", "weight_packed")
        if one.numel() != other.numel() or (codes and one.dtype != other.dtype):
            return f"{end} of shape {list(one.shape)} ({one.dtype}), not {list(other.shape)} ({other.dtype})"
    return None


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bytes."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def per_group(weight: Tensor, group: int) -> Tensor:
    """[out, in] as [out, in / group, group], fp32."""
    return weight.float().reshape(weight.shape[0], -1, group)


def _as_the_model_has_it(stored: Stored, layer: str, found: Coverage) -> Stored:
    """Codes that go by the weight's own name the way round that the model keeps it; and back."""
    if layer not in found.transposed or "weight" not in stored:
        return stored
    return {**stored, "weight": stored["weight"].T.contiguous()}


def _cast(weight: Tensor, cast: torch.dtype | str) -> Tensor:
    return weight if isinstance(cast, str) else weight.to(cast)
