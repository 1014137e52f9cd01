"""Write what a method has made: base's files byte for byte, but for the weights that it changed and the manifest."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, StorageError, UsageError
from unlearn_guard.records import TORCH_NAMES, Checkpoint, StoredTensor

MANIFEST = "unlearn_guard.json"


def write_candidate(
    model: PreTrainedModel,
    base: Checkpoint,
    copies: Sequence[StoredTensor],
    files: Sequence[str],
    out: Path,
    manifest: Mapping[str, Any],
) -> tuple[str, ...]:
    """Write the candidate to the new directory `out`; returns the names of the parameters that changed.

    `files` are base's, by name, `copies` what base stores once more under the name of a tied parameter; each
    parameter is written where base stores it and in its dtype, so that one which is the same to the bit keeps its
    bytes. Raises UsageError where nothing changed or the model's parameters are not base's, NonFiniteError where one
    is no number, StorageError when the disk refuses.
    """
    state = model.state_dict()
    changed: list[str] = []
    try:
        out.mkdir(parents=True)
        for name in files:
            if name != MANIFEST:
                (out / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(base.path / name, out / name)
        for tensor in (*base.tensors, *copies):
            if (edited := _edited(state, tensor)) is not None:
                _write(tensor, edited, base.path, out)
                changed.append(tensor.name)
        (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    if not changed:
        raise UsageError("the method changed no weight", fix="Give it more steps or a larger lr with --set.")
    return tuple(dict.fromkeys(changed))


def _edited(state: Mapping[str, Tensor], tensor: StoredTensor) -> bytes | None:
    """The model's parameter as bytes of the stored dtype, or None where they are the same."""
    name = tensor.name
    if name not in state or tuple(state[name].shape) != tensor.shape:
        raise UsageError(f"the model has no parameter {name} of shape {tensor.shape}, as base's file has")
    before = b"".join(_read(span.file, span.start, span.stop) for span in tensor.spans)
    now = state[name].detach().to("cpu", getattr(torch, TORCH_NAMES[tensor.dtype])).contiguous()
    if now.is_floating_point() and not now.isfinite().all():
        raise NonFiniteError(f"{name} is not finite after unlearning", fix="The training diverged: lower lr.")
    after = now.reshape(-1).view(torch.uint8).numpy().tobytes()
    return None if after == before else after


def _write(tensor: StoredTensor, raw: bytes, base: Path, out: Path) -> None:
    """Put a parameter's bytes where base's file has it, span after span."""
    position = 0
    for span in tensor.spans:
        with (out / span.file.relative_to(base)).open("r+b") as stream:
            stream.seek(span.start)
            stream.write(raw[position : position + span.stop - span.start])
        position += span.stop - span.start


def _read(file: Path, start: int, stop: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read(stop - start)
