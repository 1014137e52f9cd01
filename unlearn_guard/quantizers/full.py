"""The checkpoint as it lies on disk, behind the same protocol as the 4-bit formats."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.quantizers.layers import load_model
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import FULL, Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Full:
    """No quantization: `quantize` hands the checkpoint back and writes nothing."""

    name = FULL
    bits = 16
    calibrated = False

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        """Nothing but the weights decides."""
        return {"quantizer": self.name}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:  # noqa: ARG002 - the protocol's signature
        """The same checkpoint."""
        return checkpoint

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """The model in the placement's dtype."""
        return load_model(checkpoint.path, placement)
