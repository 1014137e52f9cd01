"""unlearn_guard.json: what a candidate's maker says of it. Their word, shown and recorded, never evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import listed, shown
from unlearn_guard.intake.documents import read_document
from unlearn_guard.intake.folder import Folder

MANIFEST = "unlearn_guard.json"
_TEXTS = ("base", "base_digest", "suite", "method", "corpora_digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The maker's word: from which base, for which suite, by which method, on what. Every field may be absent."""

    base: str | None = None
    base_digest: str | None = None
    suite: str | None = None
    method: str | None = None
    corpora_digest: str | None = None
    hyperparameters: Mapping[str, Any] | None = None
    seed: int | None = None
    curve: list[Any] | None = None


def read_manifest(folder: Folder) -> tuple[Manifest | None, tuple[str, ...]]:
    """The manifest, if there is one, and a note on keys it does not know. Raises CheckpointError on a wrong type."""
    if MANIFEST not in folder.files:
        return None, ()
    document = read_document(folder.files[MANIFEST], at_most=2**20)
    defects = []
    for key, kind, expected in _fields():
        value = document.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            where = f"{MANIFEST}: {key}"
            defects.append(Defect(where=where, found=shown(value), expected=f"{expected} or null"))
    if defects:
        raise CheckpointError(f"{MANIFEST} is malformed", defects)
    known = {key: document.get(key) for key, _, _ in _fields()}
    extra = sorted(set(document) - set(known))
    notes = (f"{MANIFEST} has keys the guard does not know: {listed(extra)}",) if extra else ()
    return Manifest(**known), notes


def _fields() -> tuple[tuple[str, type, str], ...]:
    texts = tuple((key, str, "a text") for key in _TEXTS)
    return (*texts, ("hyperparameters", dict, "an object"), ("seed", int, "a whole number"), ("curve", list, "a list"))
