"""Base alone in NF4, and a LoRA adapter unmerged on top in its own dtype: how QLoRA is trained and served."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.errors import needed
from unlearn_guard.quantizers.adapters import peft_version, put_on
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest
from unlearn_guard.records import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ADAPTER = "adapter"


class NF4Adapter(NF4):
    """NF4 of the base that an adapter is on, the adapter put on it by peft; base itself is its NF4 and no more."""

    name = "nf4+adapter"
    needs_adapter = True

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """NF4's, and the version of peft, which puts the adapter on."""
        return {**super().recipe(shapes), "adapter": "unmerged", "peft": peft_version()}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:
        """Write base's NF4, and the adapter's files into a folder inside."""
        adapter = checkpoint.adapter
        base = checkpoint if adapter is None else needed(adapter.on, "the base of an adapter")
        super().quantize(base, calibration, out, placement)
        if adapter is not None:
            shutil.copytree(needed(adapter.path, "the files of an adapter"), out / _ADAPTER)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """As NF4 loads base, with the adapter's layers in the place of those that it is on."""
        model = super().load(checkpoint, placement)
        folder = checkpoint.path / _ADAPTER
        return put_on(model, folder).base_model.model if folder.is_dir() else model
