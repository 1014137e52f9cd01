"""`dequantize`: from a GGUF file to a checkpoint in safetensors that any method can unlearn and `check` can judge.

    parse the header -> config -> tokenizer -> weights, a few rows at a time -> open the result as `check` would

The checkpoint appears whole or not at all. What it was made from lies beside it, in SOURCE.md.
"""

import hashlib
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unlearn_guard.errors import Defect, StorageError, UsageError
from unlearn_guard.intake import open_checkpoint, with_parameters
from unlearn_guard.processes.half_made import making
from unlearn_guard.real.gguf_config import ARCHITECTURES, model_config
from unlearn_guard.real.gguf_file import GgufFile, assert_gguf, assert_readable, read_gguf
from unlearn_guard.real.gguf_tokenizer import save, tokenizer
from unlearn_guard.real.gguf_weights import fill

DTYPES: Mapping[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float32": torch.float32}
SOURCE = "SOURCE.md"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a GGUF file came from: lines for SOURCE.md, and texts (licence, notice) to lay beside it, by name."""

    lines: tuple[str, ...] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequantized:
    """A checkpoint on disk; `source` is the sha256 of the GGUF file, `digest` that of the checkpoint."""

    path: Path
    source: str
    digest: str
    weights: str
    parameters: int


def dequantize(file: Path, out: Path, *, dtype: str, tell: Tell) -> Dequantized:
    """Write the model of a GGUF file to the new directory `out`, its weights rounded once, to `dtype`.

    Raises CheckpointError for a file that is broken, hostile, or no model that is read here, UsageError where `out`
    holds something, StorageError where the disk has no room or refuses, PluginError without the package gguf.
    """
    assert_new(out)
    assert_gguf()
    with making(out.parent) as scratch:
        return made_whole(file, out, scratch, dtype=dtype, tell=tell)


def assert_new(out: Path) -> None:
    """Raise UsageError where something lies at `out`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty directory", fix="Give a new one; nothing is overwritten.")


def assert_room(folder: Path, needed: int) -> None:
    """Raise StorageError where the disk of this folder has fewer bytes left."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise StorageError(
            f"{folder} has {megabytes(free)} left, and {megabytes(needed)} are needed",
            fix="Free some space or choose another place with --out.",
        )


def megabytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:,.1f} MB"


def made_whole(
    file: Path,
    out: Path,
    scratch: Path,
    *,
    dtype: str,
    tell: Tell,
    origin: Origin | None = None,
    expected: Mapping[str, str] | None = None,
) -> Dequantized:
    """Make the checkpoint in `scratch`, hold its weights and ids to the digests `expected`, and move it to `out`."""
    read = read_gguf(file)
    assert_readable(read, ARCHITECTURES)
    elements = sum(math.prod(tensor.shape) for tensor in read.tensors.values())
    assert_room(scratch, elements * DTYPES[dtype].itemsize)
    config = model_config(read, dtype)
    source = _sha256(file)
    tell(f"{file.name}: {len(read.tensors)} tensors, {elements / 1e6:,.1f} M weights, sha256 {source}")
    whole = scratch / "checkpoint"
    tell(f"dequantizing to {dtype}: {megabytes(elements * DTYPES[dtype].itemsize)}")
    try:
        _write_model(config, read, whole, DTYPES[dtype])
        # after the weights are gone from memory: Gemma's takes as much
        ids = save(tokenizer(read, config.max_position_embeddings), whole)
        _write_source(whole, file, source, dtype, read, origin or Origin())
        opened = with_parameters(open_checkpoint(whole))
        _assert_expected({"weights": opened.weights_digest, "ids": ids}, expected or {}, file.name)
        whole.replace(out)
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    return Dequantized(
        path=out,
        source=source,
        digest=opened.checkpoint.digest,
        weights=opened.weights_digest,
        parameters=opened.parameters,
    )


def _write_model(config: Any, file: GgufFile, whole: Path, dtype: torch.dtype) -> None:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    fill(model, file, dtype)
    model.save_pretrained(whole)
    for weights in whole.glob("*.safetensors"):  # the library makes them private; jobs of other users read them
        shutil.copymode(whole / "config.json", weights)


def _assert_expected(found: Mapping[str, str], expected: Mapping[str, str], name: str) -> None:
    if wrong := [what for what, digest in expected.items() if found[what] != digest]:
        raise StorageError(
            f"{name} became another model than the pinned one",
            [Defect(where=what, found=found[what], expected=expected[what]) for what in wrong],
            fix="Another release of gguf, torch or transformers reads it otherwise: install those of constraints.txt.",
        )


def _write_source(whole: Path, file: Path, source: str, dtype: str, read: GgufFile, origin: Origin) -> None:
    licence = read.metadata.get("general.license")
    lines = [
        "# Where these weights come from",
        "",
        f"Dequantized to {dtype} by unlearn-guard from a GGUF file; nothing was trained.",
        "",
        f"- file: {_plain(file.name)}",
        f"- sha256: {source}",
        f"- name, by its maker: {_plain(read.metadata.get('general.name'))}",
        f"- licence, by its maker: {_plain(licence)}",
        *(f"- {line}" for line in origin.lines),
    ]
    (whole / SOURCE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in origin.texts.items():
        (whole / name).write_bytes(text)


def _plain(text: object) -> str:
    return text if isinstance(text, str) and text.isprintable() and len(text) < 200 else "not said"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
