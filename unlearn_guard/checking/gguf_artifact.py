"""A ready-made GGUF file: copied into the store, held against the candidate, and asked how it reads the questions.

The guard's own copy of the file is what is measured; the candidate's config stands beside it, which the file's metadata
has to say again. Nothing of the file is given to llama.cpp before its header is seen to be sound.
"""

import hashlib
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from unlearn_guard.errors import CheckpointError, Defect, StorageError, UsageError
from unlearn_guard.intake import Intake
from unlearn_guard.quantizers.gguf_formats import FILE, SETTINGS, model_config_of
from unlearn_guard.quantizers.gguf_header import ARCHITECTURES, keys_of, refusals_of
from unlearn_guard.quantizers.gguf_mix import FILE_TYPES, PRECISIONS
from unlearn_guard.quantizers.gguf_proof import Held, Shown, differences
from unlearn_guard.quantizers.layers import stored_tensors
from unlearn_guard.quantizers.llama_cpp import LlamaCpp
from unlearn_guard.real.gguf_config import ARCHITECTURES as READ
from unlearn_guard.real.gguf_config import model_config
from unlearn_guard.real.gguf_file import GgufFile, GgufTensor, assert_gguf, assert_readable, read_gguf
from unlearn_guard.records import Checkpoint
from unlearn_guard.runs.store import Store, default_root
from unlearn_guard.runs.store import key as store_key
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.tokens import Tokens

_TOLD = 5
_OTHERWISE = ("context_length",)
"""What a file may say otherwise than the config: how long a prompt it is offered with."""


def file_of(location: str | Path) -> Path:
    """The GGUF file that is meant: itself, or the one in a directory. CheckpointError."""
    path = Path(location).expanduser()
    files = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        found = f"{len(files)} GGUF files" if path.is_dir() else "no such file"
        raise CheckpointError(f"{location} is no artifact in GGUF: {found}", fix="Give the .gguf file.")
    return files[0]


def look_at(location: str | Path) -> GgufFile:
    """The file, its header read and its kind known. CheckpointError, or PluginError without the package gguf."""
    assert_gguf()
    read = read_gguf(file_of(location))
    assert_readable(read, READ)
    return read


def open_gguf(location: str, precision: str, candidate: Intake, base: Intake) -> tuple[Intake, tuple[str, ...]]:
    """The file as an intake, and a note on how it was shown to be the candidate's.

    Raises CheckpointError for a file that is broken or describes another model, UsageError for one whose weights are
    not the candidate's in this format.
    """
    given = file_of(location)
    look_at(given)
    digest = _sha256(given)
    key = store_key(kind="gguf artifact", file=digest, candidate=candidate.checkpoint.digest)
    store = Store(default_root())
    directory = store.directory(key) or store.publish(key, lambda out: _copy(given, digest, candidate, out))
    read = look_at(directory / FILE)
    config = model_config_of(candidate.checkpoint.path)
    mix = PRECISIONS[precision]
    _assert_same_model(read, config, location, mix)
    shown = Shown()
    held = {name: _held(read, tensor) for name, tensor in read.tensors.items()}
    sources = stored_tensors(candidate.checkpoint), stored_tensors(base.checkpoint)
    importance = any(key.startswith("quantize.imatrix.") for key in read.metadata)
    if defects := [*islice(differences(held, *sources, config, mix, shown, importance=importance), _TOLD)]:
        fix = f"Quantize this candidate, or leave {precision} to the guard: it writes the file itself."
        raise UsageError(f"{location} was not made from the candidate", defects, fix=fix)
    checkpoint = Checkpoint(path=directory, digest=key, precision=precision, method=candidate.checkpoint.method)
    return replace(candidate, location=str(location), checkpoint=checkpoint), (_note(given, digest, precision, shown),)


def assert_llama_cpp_reads_alike(rendered: Rendered, tokenizer: Any, artifact: Intake) -> None:
    """Raise CheckpointError where llama.cpp, by the file's own tokenizer, reads a question as other token ids."""
    theirs = LlamaCpp(artifact.checkpoint.path / FILE, model_config_of(artifact.checkpoint.path), None)
    tokens, defects = rendered.tokens(tokenizer), []
    for task in rendered.tasks:
        for text, ids in _texts(task.items, tokens).items():
            found = theirs.ids(text, special=not _begun(text, tokens))
            if tuple(found) != ids:
                place = next((at for at, pair in enumerate(zip(found, ids, strict=False)) if pair[0] != pair[1]), 0)
                told = f"token ids {found[place : place + 8]} from position {place} of {text[:60]!r}"
                where = task.task.name
                defects.append(Defect(where=where, found=told, expected=f"base's {list(ids[place : place + 8])}"))
                break
    if defects:
        raise CheckpointError(
            f"{artifact.location}: its own tokenizer reads the suite's texts otherwise than base's",
            defects,
            fix="Convert it with base's tokenizer files; or leave the format to the guard: it asks in token ids.",
        )


def _texts(items: Any, tokens: Tokens) -> dict[str, tuple[int, ...]]:
    """Every text that the items put to a model, with its ids."""
    requests = [request for item in items for request in item.requests]
    pairs = [each.args for each in requests if each.request_type == "loglikelihood"]
    whole = {f"{context}{rest}": context_ids + ids for (context, rest), (context_ids, ids) in
             zip(pairs, tokens.pairs(pairs), strict=True) if context}  # fmt: skip
    written = [str(each.args[0]) for each in requests if each.request_type != "loglikelihood"]
    return whole | dict(zip(written, tokens.texts(written), strict=True))


def _begun(text: str, tokens: Tokens) -> bool:
    return tokens.bos is not None and text.startswith(tokens.tokenizer.decode([tokens.bos]))


def _copy(given: Path, digest: str, candidate: Intake, out: Path) -> None:
    shutil.copyfile(given, out / FILE)
    if _sha256(out / FILE) != digest:
        raise StorageError(f"{given} changed while it was copied", fix="Let nothing write to it, and run this again.")
    for name in SETTINGS:
        if (candidate.checkpoint.path / name).is_file():
            shutil.copyfile(candidate.checkpoint.path / name, out / name)


def _assert_same_model(read: GgufFile, config: Any, location: str, mix: str) -> None:
    if defects := refusals_of(config):
        raise UsageError(f"the candidate cannot be compared with {location}", defects)
    if read.architecture != ARCHITECTURES[config.model_type]:
        found = Defect(where="general.architecture", found=read.architecture, expected=ARCHITECTURES[config.model_type])
        raise CheckpointError(f"{location} is not the candidate's model", [found])
    theirs = _keys(model_config(read, "float32"))
    defects = tuple(
        Defect(where=key, found=str(theirs.get(key, "nothing")), expected=f"the candidate's {value}")
        for key, value in _keys(config).items()
        if key not in _OTHERWISE and not _same(theirs.get(key), value)
    )
    said = read.metadata.get("general.file_type")
    if said is not None and said != FILE_TYPES[mix]:
        defects += (Defect(where="general.file_type", found=str(said), expected=f"{FILE_TYPES[mix]}, {mix}"),)
    if defects:
        raise CheckpointError(f"{location} does not describe the candidate's model in {mix}", defects)


def _keys(config: Any) -> Mapping[str, Any]:
    return {"tied": bool(config.tie_word_embeddings), **keys_of(config)}


def _same(theirs: Any, ours: Any) -> bool:
    return math.isclose(theirs, ours, rel_tol=1e-6) if isinstance(theirs, int | float) else theirs == ours


def _held(read: GgufFile, tensor: GgufTensor) -> Held:
    import gguf

    rows = math.prod(tensor.shape[:-1])
    stored = np.memmap(read.path, np.uint8, "r", tensor.start, (rows, (tensor.stop - tensor.start) // rows))
    return Held(kind=gguf.GGMLQuantizationType(tensor.kind).name, shape=tensor.shape, stored=stored)


def _note(given: Path, digest: str, precision: str, shown: Shown) -> str:
    said = f"{precision}: {given.name} (sha256 {digest}) was measured; {shown.equal} of its tensors are the candidate's"
    if not shown.near:
        return f"{said}, byte for byte"
    return f"{said} byte for byte, the other {shown.near} as near to it as their type rounds, and not nearer to base"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
