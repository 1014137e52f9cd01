"""A LoRA adapter as peft saves it: a config and the low-rank factors, on a base that somebody else names.

It is read as warily as a whole checkpoint, and no part of it is believed to be the base it was trained on.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.adapter_config import CONFIG, MERGE, read_settings
from unlearn_guard.intake.defects import gather, listed, refusal, shown
from unlearn_guard.intake.documents import read_document
from unlearn_guard.intake.folder import Folder, left_out_notes, read_folder
from unlearn_guard.intake.header import Span, read_header
from unlearn_guard.intake.location import Place, find
from unlearn_guard.intake.manifest import MANIFEST, Manifest, read_manifest
from unlearn_guard.intake.sealing import sealing
from unlearn_guard.intake.shards import INDEX, SINGLE
from unlearn_guard.intake.tokenizer import has_vocabulary
from unlearn_guard.intake.weights import Tensor, scan, weights_digest
from unlearn_guard.reading.strict_json import canonical

WEIGHTS = "adapter_model.safetensors"
_FLOATS = ("F32", "F16", "BF16", "F64")
_WHOLE_PICKLE = re.compile(r"pytorch_model.*\.bin|model.*\.(pt|ckpt|h5|msgpack)|tf_model\.h5")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """An adapter without defects in itself; whether it fits a base is for whoever has the base to say.

    `digest` is over settings, tensors and tokenizer files. `directory` is the sealed copy and `files` the sha256 of
    each file in it; both are the directory itself and nothing where it was only looked at. `tokenizer` names its
    tokenizer files where they are whole. `claimed` is the base that its config names.
    """

    digest: str
    location: str
    place: Place
    directory: Path
    settings: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    tokenizer: tuple[str, ...]
    files: Mapping[str, str]
    manifest: Manifest | None
    claimed: str | None
    notes: tuple[str, ...]

    def digest_on(self, base: str, peft: str) -> str:
        """What the candidate is known by that this adapter makes of a base, put together by this version of peft."""
        return hashlib.sha256(canonical(["adapter", self.digest, base, peft])).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """An adapter's files as read, before the pass over the weights."""

    settings: Mapping[str, Any]
    spans: tuple[Span, ...]
    manifest: Manifest | None
    claimed: str | None
    tokenizer: tuple[str, ...]
    notes: tuple[str, ...]


def is_adapter(location: str | Path) -> bool:
    """Whether there is an adapter's config and no whole model: with both, transformers loads one onto the other."""
    directory = find(location).directory
    return (directory / CONFIG).exists() and not any((directory / name).exists() for name in (SINGLE, INDEX))


def open_adapter(location: str | Path, *, seal_in: Path | None = None) -> AdapterFiles:
    """Read an adapter's directory, or hub id, without running any of it; `seal_in` as for a whole checkpoint.

    Raises CheckpointError with every defect found.
    """
    place = find(location)
    sealed: Mapping[str, str] = {}
    try:
        folder = read_folder(place)
        looked_at = contents = _read(folder)
        if seal_in is not None:
            folder, sealed = _sealed(place, folder, contents, seal_in)
            contents = _read(folder)  # again: the copy is what counts
        tensors = scan((folder.files[WEIGHTS], span) for span in contents.spans)
    except CheckpointError as error:
        summary = f"{shown(str(location))} cannot be judged: {error.summary}"
        raise CheckpointError(summary, error.defects, fix=error.fix) from error
    read = {name: hashlib.sha256(folder.files[name].read_bytes()).hexdigest() for name in contents.tokenizer}
    parts = [dict(contents.settings), weights_digest(tensors), read]
    return AdapterFiles(
        digest=hashlib.sha256(canonical(parts)).hexdigest(),
        location=str(location),
        place=place,
        directory=folder.directory,
        settings=contents.settings,
        tensors=tensors,
        tokenizer=contents.tokenizer,
        files=sealed,
        manifest=contents.manifest,
        claimed=contents.claimed,
        notes=(*((place.note,) if place.note else ()), *looked_at.notes, *left_out_notes(folder)),
    )


def _read(folder: Folder) -> _Contents:
    defects: list[Defect] = []
    settings: Mapping[str, Any] = {}
    spans: tuple[Span, ...] = ()
    manifest, claimed = None, None
    notes: list[str] = []
    with gather(defects):
        _refuse_whole_model(folder)
    with gather(defects):
        document = read_document(folder.files[CONFIG])
        claimed = document.get("base_model_name_or_path")
        settings = read_settings(document)
    with gather(defects):
        spans = _read_weights(folder)
    with gather(defects):
        manifest, about_manifest = read_manifest(folder)
        notes += about_manifest
    if defects:
        raise CheckpointError(f"{len(defects)} defect{'s' if len(defects) != 1 else ''}", defects)
    tokenizer = folder.tokenizer_files()
    if tokenizer and not has_vocabulary(folder):
        notes.append(f"base's tokenizer is used: beside the adapter lie {listed(list(tokenizer))} without a vocabulary")
        tokenizer = ()
    return _Contents(
        settings=settings,
        spans=spans,
        manifest=manifest,
        claimed=claimed if isinstance(claimed, str) and claimed else None,
        tokenizer=tokenizer,
        notes=tuple(notes),
    )


def _refuse_whole_model(folder: Folder) -> None:
    """Where there is a config.json, transformers loads the model that lies there and puts the adapter onto it."""
    whole = [name for name in (SINGLE, INDEX) if name in folder.files]
    whole += [name for name in folder.unopened if _WHOLE_PICKLE.fullmatch(name)]
    if whole:
        found, fix = f"{CONFIG} and {listed(whole)}", "Put the adapter's own files into a directory of their own."
        raise refusal("directory", found, "an adapter or a whole model, not both", fix)


def _read_weights(folder: Folder) -> tuple[Span, ...]:
    if WEIGHTS in folder.files:
        spans = read_header(folder.files[WEIGHTS])
        defects = [
            Defect(where=f"{WEIGHTS}: {shown(each.name)}", found=each.dtype, expected=f"one of {', '.join(_FLOATS)}")
            for each in spans
            if each.dtype not in _FLOATS
        ]
        if defects:
            raise CheckpointError(f"{WEIGHTS} holds more than the factors of LoRA", defects)
        return spans
    if folder.unopened:
        found = f"no {WEIGHTS}, only {listed(list(folder.unopened))}, which is never opened (a pickle runs code)"
        fix = "Where you trust the file: load it there, and `save_pretrained(..., safe_serialization=True)`."
        raise refusal("weights", found, WEIGHTS, fix)
    raise refusal("weights", "none", WEIGHTS, "`model.save_pretrained(directory)` writes it.")


def _sealed(place: Place, folder: Folder, contents: _Contents, root: Path) -> tuple[Folder, Mapping[str, str]]:
    """The folder of the sealed copy: what peft reads, the tokenizer where it is whole, and the manifest."""
    known = (CONFIG, WEIGHTS, MANIFEST, *contents.tokenizer)
    names = [name for name in sorted(folder.files) if name in known]
    with sealing(place, root) as seal:
        seal.take(folder, names)
        directory = seal.publish()
    left_out = (name for name in folder.files if name not in seal.digests)
    files = {name: directory / name for name in seal.digests}
    aside = tuple(sorted({*folder.aside, *left_out}))
    return Folder(directory=directory, files=files, unopened=folder.unopened, aside=aside), dict(seal.digests)


def assert_fits(adapter: AdapterFiles, expected: Mapping[str, Sequence[int]], tied: Mapping[str, str]) -> None:
    """Refuse an adapter whose tensors are not those that its own config gives on this base.

    `expected` are shapes by name as peft saves them; `tied` names what shares a base tensor with another module, of
    those that the adapter would change. A tensor too many is loaded over base's own, one too few stays at random.
    """
    held = {tensor.name: tensor.shape for tensor in adapter.tensors}
    defects = []
    for name in sorted({*held, *expected}):
        where = f"{WEIGHTS}: {shown(name)}"
        if name not in held:
            found = f"shape {list(expected[name])}, which the config gives on this base"
            defects.append(Defect(where=where, found="no such tensor", expected=found))
        elif name not in expected:
            found = f"a tensor of shape {list(held[name])}"
            told = "none: the config targets no such module of this base"
            defects.append(Defect(where=where, found=found, expected=told))
        elif tuple(held[name]) != tuple(expected[name]):
            shapes = f"shape {list(expected[name])}, by the config's rank and base's widths"
            defects.append(Defect(where=where, found=f"shape {list(held[name])}", expected=shapes))
    for name, other in tied.items():
        told = "no adapter there: merged it would change both, unmerged it changes one"
        found = f"an adapter on {name}, whose weight is {other} too"
        defects.append(Defect(where=f"{CONFIG}: target_modules", found=found, expected=told))
    if defects:
        more = f", of {len(defects)}" if len(defects) > _TOLD else ""
        raise CheckpointError(
            f"{shown(adapter.location)} does not fit the base{more}",
            defects[:_TOLD],
            fix=f"Name the base that it was trained on. Where that is this one: {MERGE[0].lower()}{MERGE[1:]}",
        )


_TOLD = 12
