"""Open a checkpoint: everything is checked before any library sees it, and every defect comes in one error."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.config import HISTORY, attention_notes, check_config, check_no_code, code_notes, text_config
from unlearn_guard.intake.defects import gather, listed, refusal, shown
from unlearn_guard.intake.documents import read_document
from unlearn_guard.intake.folder import Folder, left_out_notes, read_folder
from unlearn_guard.intake.intake import Intake, assert_unchanged
from unlearn_guard.intake.location import Place, find
from unlearn_guard.intake.manifest import Manifest, read_manifest
from unlearn_guard.intake.packages import assert_docstrings
from unlearn_guard.intake.sealing import sealing
from unlearn_guard.intake.shards import INDEX, SINGLE, Located, read_weights, stale_index
from unlearn_guard.intake.tokenizer import ABSENT, Tokenizer, has_vocabulary, read_tokenizer
from unlearn_guard.intake.weights import scan, weights_digest
from unlearn_guard.reading.strict_json import canonical
from unlearn_guard.records import FULL, Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """A checkpoint's files as read, before the pass over the weights."""

    config: Mapping[str, Any]
    generation: Mapping[str, Any]
    tokenizer: Tokenizer
    manifest: Manifest | None
    located: Located
    notes: tuple[str, ...]

    @property
    def config_digest(self) -> str:
        """Of the config, without what only tells its history, and the generation config."""
        meant = {key: value for key, value in self.config.items() if key not in HISTORY}
        return hashlib.sha256(canonical([meant, dict(self.generation)])).hexdigest()

    def checkpoint(self, path: Path, precision: str, weights: str) -> Checkpoint:
        """Named by the digest of all that an answer depends on: weights, config and tokenizer."""
        parts = [weights, self.config_digest, self.tokenizer.digest]
        digest = hashlib.sha256(canonical(parts)).hexdigest()
        method = self.manifest.method if self.manifest else None
        return Checkpoint(path=path, digest=digest, precision=precision, method=method)


def open_checkpoint(
    location: str | Path,
    *,
    precision: str = FULL,
    allow_root: Path | None = None,
    seal_in: Path | None = None,
    tokenizer: bool = True,
) -> Intake:
    """Read a directory or hub id (`org/name@revision`) without running any of it.

    `seal_in`: the folder for a sealed copy, which the intake then speaks of; without it the checkpoint is looked at
    where it lies, which is not enough to load it. `allow_root`: a folder that links may lead to beside the hub cache's
    blobs. Any precision but FULL says that it is quantized already. Without `tokenizer` one that has none will do.
    Raises CheckpointError with every defect found; weights are copied and hashed only when all else is sound.
    """
    assert_docstrings()
    place = find(location, allow_root)
    sealed: Mapping[str, str] = {}
    try:
        folder = read_folder(place)
        before = folder.states(folder.files)
        contents = _read(folder, precision, tokenizer)
        if seal_in is not None:
            folder, sealed = _sealed(place, folder, contents, seal_in)
            contents = _read(folder, precision, tokenizer)  # again: the copy is what counts
        tensors = scan(contents.located)
    except CheckpointError as error:
        raise _not_judged(location, error) from error
    weights = weights_digest(tensors)
    intake = Intake(
        checkpoint=contents.checkpoint(folder.directory, precision, weights),
        location=str(location),
        place=place,
        tensors=tensors,
        weights_digest=weights,
        config_digest=contents.config_digest,
        tokenizer_digest=contents.tokenizer.digest,
        tokenizer=contents.tokenizer,
        config=contents.config,
        manifest=contents.manifest,
        generation=contents.generation,
        sealed=sealed,
        files=before,
        names=tuple(sorted(folder.files)),
        notes=(*((place.note,) if place.note else ()), *contents.notes),
    )
    if not sealed:
        assert_unchanged(intake)
    return intake


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a checkpoint says of itself before its weights are read: the text model's config, and its maker's word.

    An `adapter` has no config of its own.
    """

    location: str
    directory: Path | None
    manifest: Manifest | None
    config: Mapping[str, Any]
    adapter: bool = False


def look(location: str | Path, *, precision: str = FULL) -> Outline:
    """All that `open_checkpoint` looks at but the weights themselves. Raises CheckpointError with every defect."""
    try:
        place = find(location)
        contents = _read(read_folder(place), precision, True)
    except CheckpointError as error:
        raise _not_judged(location, error) from error
    config = text_config(contents.config)
    return Outline(location=str(location), directory=place.directory, manifest=contents.manifest, config=config)


def _not_judged(location: str | Path, error: CheckpointError) -> CheckpointError:
    return CheckpointError(f"{shown(str(location))} cannot be judged: {error.summary}", error.defects, fix=error.fix)


def _sealed(place: Place, folder: Folder, contents: _Contents, root: Path) -> tuple[Folder, Mapping[str, str]]:
    """The folder of the sealed copy: the known files, and of the safetensors those that hold the model's weights."""
    weights = {file.name for file, _ in contents.located}
    names = [name for name in sorted(folder.files) if not name.endswith(".safetensors") or name in weights]
    names = [name for name in names if name != INDEX or not stale_index(folder.files)]
    with sealing(place, root) as seal:
        seal.take(folder, names)
        directory = seal.publish()
    left_out = tuple(name for name in folder.files if name not in seal.digests)
    files = {name: directory / name for name in seal.digests}
    aside = tuple(sorted({*folder.aside, *left_out}))
    return Folder(directory=directory, files=files, unopened=folder.unopened, aside=aside), dict(seal.digests)


def _read(folder: Folder, precision: str, wanted: bool) -> _Contents:
    defects: list[Defect] = []
    config: Mapping[str, Any] = {}
    generation: Mapping[str, Any] = {}
    manifest: Manifest | None = None
    tokenizer: Tokenizer | None = None
    located: Located = ()
    about_weights: tuple[str, ...] = ()
    about_manifest: tuple[str, ...] = ()
    if "adapter_config.json" in folder.files and not {SINGLE, INDEX} & {*folder.files}:
        _refuse_adapter(folder)  # alone: it has nothing of a whole model, which would all be told as missing
    with gather(defects):
        _refuse_adapter(folder)
    with gather(defects):
        config = _read_config(folder)
        recipes = (name for name in ("quantize_config.json", "quant_config.json") if name in folder.files)
        check_config(config, precision, next(recipes, None))
    with gather(defects):
        generation = _read_generation(folder)
    with gather(defects):
        tokenizer = _read_tokenizer(folder, _rows(config), wanted)
    with gather(defects):
        manifest, about_manifest = read_manifest(folder)
    with gather(defects):
        located, about_weights = read_weights(folder)
    if defects or tokenizer is None:
        raise CheckpointError(f"{len(defects)} defect{'s' if len(defects) != 1 else ''}", defects)
    about_config = (*code_notes(config), *attention_notes(config))
    notes = (*about_config, *_beyond(tokenizer), *about_weights, *about_manifest, *left_out_notes(folder))
    return _Contents(
        config=config, generation=generation, tokenizer=tokenizer, manifest=manifest, located=located, notes=notes
    )


def _read_tokenizer(folder: Folder, rows: int | None, wanted: bool) -> Tokenizer:
    if not wanted and not has_vocabulary(folder):
        return ABSENT
    return read_tokenizer(folder, rows)


def _beyond(tokenizer: Tokenizer) -> tuple[str, ...]:
    if not tokenizer.beyond:
        return ()
    names = listed(list(tokenizer.beyond))
    return (f"the model has no row for the special tokens {names}: a text that spells one cannot be read",)


def _rows(config: Mapping[str, Any]) -> int | None:
    rows = text_config(config).get("vocab_size")
    return rows if type(rows) is int else None


def _refuse_adapter(folder: Folder) -> None:
    if "adapter_config.json" not in folder.files:
        return
    merge = "`PeftModel.from_pretrained(...).merge_and_unload().save_pretrained(...)`"
    if SINGLE in folder.files or INDEX in folder.files:
        fix = f"Merge it first: {merge}. Where it is merged already: delete this file, "
        fix += "for which transformers would load that base instead."
    else:
        fix = f"As the candidate of `check`, on --base, it is judged as it is. Merge it first anywhere else: {merge}."
    raise refusal("adapter_config.json", "an adapter, which names a base of its own", "a whole model", fix)


def _read_config(folder: Folder) -> dict[str, Any]:
    if "config.json" not in folder.files:
        raise refusal(
            "config.json", "no such file", "the model's config", "`model.save_pretrained(directory)` writes it."
        )
    return read_document(folder.files["config.json"])


def _read_generation(folder: Folder) -> dict[str, Any]:
    if "generation_config.json" not in folder.files:
        return {}
    document = read_document(folder.files["generation_config.json"])
    defects = check_no_code(document, "generation_config.json")
    if defects:
        raise CheckpointError("generation_config.json must not be loaded", defects)
    return document
