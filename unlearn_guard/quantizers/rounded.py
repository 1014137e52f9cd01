"""What the formats share that round each weight to the nearest level of its group, looking at no data.

They are stored as the package compressed-tensors stores them (llm-compressor's files, which vLLM and transformers
read), so that a model made elsewhere is read here by the same lines. Weight only: a layer computes with the weights
that its codes stand for, in the placement's dtype.
"""

import importlib.metadata
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unlearn_guard.errors import Defect, QuantizationError
from unlearn_guard.quantizers.coverage import Coverage, coverage, linear_shapes, named
from unlearn_guard.quantizers.layers import (
    assert_untouched,
    directory_tensors,
    load_model,
    read_tensor,
    read_weight,
    stored_tensors,
)
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest
from unlearn_guard.records import Checkpoint, StoredTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MOST = 0.1

Stored = dict[str, Tensor]
"""What a layer is stored as, by the end of its name: `weight_packed`, `weight_scale`, ..."""


class Rounded(ABC):
    """A weight-only format of one rounding rule. A file of one says how a matrix is written and read."""

    name: str
    bits: int
    calibrated = False
    layout: str
    """compressed-tensors' name of the storage."""

    @abstractmethod
    def weights(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """The `weights` of compressed-tensors' recipe: bits, type, strategy, group size."""

    @abstractmethod
    def encode(self, weight: Tensor, group: int) -> Stored:
        """What a matrix [out, in] is stored as."""

    @abstractmethod
    def decode(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """The fp32 matrix [out, in] that is computed with."""

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
        from transformers import AutoConfig

        files, found = directory_tensors(checkpoint.path), coverage(checkpoint.path)
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=False, local_files_only=True)
        for said in ("quantization_config", "compression_config"):  # the codes are read here, by no library
            if hasattr(config, said):
                delattr(config, said)
        elsewhere = [name for name in found.units if name not in files]
        model = load_model(checkpoint.path, placement, elsewhere=elsewhere, config=config)
        for layer, shape in found.linears.items():
            weight = self.decode(self.stored(files, layer, found), shape)
            held = model.get_submodule(layer).weight
            held.data = (weight.T.contiguous() if layer in found.transposed else weight).to(held.device, held.dtype)
        return model

    def stored(self, files: Mapping[str, StoredTensor], layer: str, found: Coverage) -> Stored:
        """Everything that a directory holds of one layer's weight. QuantizationError where it is not in this format."""
        ends = [name.rpartition(".")[2] for name in files if name.rpartition(".")[0] == layer]
        held = {end: read_tensor(files, f"{layer}.{end}") for end in ends if end.startswith("weight")}
        if "weight_scale" not in held:
            raise QuantizationError(f"{layer} is not in {self.name}: it holds {named(sorted(held)) or 'nothing'}")
        return _as_the_model_has_it(held, layer, found)

    def differences(self, artifact: Path, candidate: Checkpoint) -> tuple[Defect, ...]:
        """What in a ready-made model is not the candidate rounded to this format; at most a few, each by its name.

        Weights may have been rounded to half precision first, and a library that divides in bf16 takes the
        neighbouring code of what lies near a boundary: one code byte in ten may differ (by how much is not looked at),
        scales none.
        """
        found, files, source = coverage(candidate.path), directory_tensors(artifact), stored_tensors(candidate)
        group, defects = self._group(found.linears), []
        for name in found.units:
            layer, weight = name.removesuffix(".weight"), read_weight(source, name, found)
            stored = self.stored(files, layer, found)
            casts = {weight.dtype, torch.bfloat16, torch.float16}
            if not any(_near(stored, self.encode(weight.to(each), group)) for each in casts):
                defects.append(
                    Defect(where=name, found="other codes or scales", expected=f"the candidate's in {self.name}")
                )
            if len(defects) == 5:
                break
        return tuple(defects)

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


def _near(stored: Stored, expected: Stored) -> bool:
    """The same tensors and scales, and codes of which at most one byte in ten (4-bit codes: two a byte) differs."""
    if stored.keys() - {"weight_shape"} != expected.keys() - {"weight_shape"}:
        return False  # zero points or an order of inputs: another rule
    for end in expected.keys() - {"weight_shape"}:
        one, other = stored[end], expected[end]
        if end not in ("weight", "weight_packed"):
            if not same(one, other):
                return False
        elif one.dtype != other.dtype or one.shape != other.shape:
            return False
        else:
            codes = (one.contiguous().view(torch.uint8) != other.contiguous().view(torch.uint8)).float()
            if float(codes.mean()) > _MOST:
                return False
    return True


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
