"""Write what a method has made: base's files byte for byte, but for the tensors that it changed and the manifest."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, StorageError, UsageError

MANIFEST = "unlearn_guard.json"
_WEIGHTS = "*.safetensors"


def write_candidate(
    model: PreTrainedModel, base: Path, files: list[str], out: Path, manifest: Mapping[str, Any]
) -> tuple[str, ...]:
    """Write the candidate to the new directory `out`; returns the names of the tensors that changed.

    `files` are base's, by name; each tensor is written in the dtype that base stores it in. One that is the same to
    the bit keeps its bytes. Raises UsageError where nothing changed or the model's tensors are not base's,
    NonFiniteError where one is no number, StorageError when the disk refuses.
    """
    state = model.state_dict()
    changed: list[str] = []
    try:
        out.mkdir(parents=True)
        for name in files:
            if Path(name).match(_WEIGHTS):
                changed += _write_shard(state, base / name, out / name)
            elif name != MANIFEST:
                shutil.copyfile(base / name, out / name)
        (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    if not changed:
        raise UsageError("the method changed no weight", fix="Give it more steps or a larger lr with --set.")
    return tuple(changed)


def _write_shard(state: Mapping[str, Tensor], source: Path, target: Path) -> list[str]:
    """One file of tensors, with the model's in place of base's; returns those that differ."""
    changed = []
    tensors: dict[str, Tensor] = {}
    with safe_open(source, framework="pt") as stored:
        metadata = stored.metadata()
        for name in stored.keys():  # noqa: SIM118 - no mapping
            before = stored.get_tensor(name)
            tensors[name] = _after(state, name, before)
            if tensors[name] is not before:
                changed.append(name)
    if changed:
        save_file(tensors, target, metadata=metadata)
    else:
        shutil.copyfile(source, target)
    return changed


def _after(state: Mapping[str, Tensor], name: str, before: Tensor) -> Tensor:
    """The model's tensor in the stored dtype, or `before` itself where they are the same to the bit."""
    if name not in state or state[name].shape != before.shape:
        raise UsageError(f"the model has no tensor {name} of shape {tuple(before.shape)}, as base's file has")
    now = state[name].detach().to("cpu", before.dtype).contiguous()
    if not now.isfinite().all():
        raise NonFiniteError(f"{name} is not finite after unlearning", fix="The training diverged: lower lr.")
    return before if torch.equal(now, before) else now
