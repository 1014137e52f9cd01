"""What a 4-bit format has to offer, and what every format shares.

A quantizer is written once and found by name: ours through the entry points in pyproject.toml, a
third party's through the same door (group `unlearn_guard.quantizers`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from unlearn_guard.records import Checkpoint

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


SHORTEST = 11
"""Tokens that a calibration text needs: gptqmodel drops shorter ones, whatever `calibration_data_min_length` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The texts a data-driven quantizer may look at, the same for base and candidate.

    `group` is how many inputs share a scale, where it is not the format's own choice; what knows no groups looks at
    the texts alone.
    """

    texts: tuple[str, ...]
    group: int | None = None

    @property
    def digest(self) -> str:
        """sha256 of the texts in their order, and of the group where one is named."""
        said = self.texts if self.group is None else [self.texts, self.group]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a model runs and in which dtype its activations are.

    `device_map` is what accelerate takes; `dtype` may be "auto", the dtype that the checkpoint is stored in. `compute`
    is the dtype of the products with 4-bit weights where it is another one, as with `bnb_4bit_compute_dtype`. `cast` is
    the dtype that weights are rounded to before they are quantized, as by `from_pretrained(dtype=...)`; "auto" is none.
    """

    device_map: str
    dtype: "torch.dtype | str"
    compute: "torch.dtype | None" = None
    cast: "torch.dtype | str" = "auto"


@runtime_checkable
class Quantizer(Protocol):
    """One 4-bit format of one library.

    `quantize` writes an ordinary model directory that `transformers` can load, and proves that it is
    what was asked for: every linear layer but the output head in `bits` bits, no fallback, and the
    same weights after reloading. Whatever fails is a QuantizationError, never a warning.

    A format that a candidate has only if it is an adapter says so by `needs_adapter = True`: its `quantize` finds base
    and the adapter's files in `checkpoint.adapter`, which is None for base itself. Anybody else's candidate is refused.
    """

    name: str
    bits: int
    calibrated: bool

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """Everything besides the weights and the calibration texts that decides the outcome, versions included."""
        ...

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:
        """Write the quantized model to `out`, an empty directory."""
        ...

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """Read a quantized directory back, in evaluation mode."""
        ...


def needs_adapter(quantizer: Quantizer) -> bool:
    """Whether only a candidate that is an adapter can be measured at this precision."""
    return bool(getattr(quantizer, "needs_adapter", False))


def largest_group(shapes: Mapping[str, tuple[int, int]], sizes: Sequence[int] = (128, 64, 32)) -> int | None:
    """The largest group size that divides the input width of every layer, or None where none does."""
    return next((size for size in sizes if all(width % size == 0 for _, width in shapes.values())), None)


def directory_digest(path: Path) -> str:
    """sha256 over the names and bytes of a directory's weight and configuration files."""
    total = hashlib.sha256()
    for file in (each for kind in ("*.safetensors", "*.gguf", "*.json") for each in sorted(path.glob(kind))):
        with file.open("rb") as stream:
            total.update(f"{file.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\0".encode())
    return total.hexdigest()
