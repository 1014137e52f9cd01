"""Which safetensors files hold the weights: `model.safetensors`, or the shards that an index names.

The index is checked against the headers in both directions, since a tensor that it leaves out is
loaded upstream as random numbers, with a line in a log.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import gather, listed, refusal, shown
from unlearn_guard.intake.documents import MEBIBYTE, read_document
from unlearn_guard.intake.folder import Folder
from unlearn_guard.intake.header import Span, read_header

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_SAVE = "Save it again with `save_pretrained(..., safe_serialization=True)`."

Located = tuple[tuple[Path, Span], ...]


def read_weights(folder: Folder) -> tuple[Located, tuple[str, ...]]:
    """Every tensor with its file, and notes on safetensors files left aside. Raises CheckpointError."""
    if SINGLE in folder.files and INDEX in folder.files and _others(folder):
        found, fix = f"both {SINGLE} and {INDEX} with its shards", "Delete what an earlier save left of the two."
        raise refusal("weights", found, "one of them: transformers reads the first and ignores the shards", fix)
    if SINGLE in folder.files:
        names, weight_map = [SINGLE], None
    elif INDEX in folder.files:
        weight_map = _weight_map(folder)
        names = sorted(set(weight_map.values()))
    else:
        raise _no_weights(folder)
    located = _located(folder, names, weight_map)
    aside = [name for name in folder.files if name.endswith(".safetensors") and name not in names]
    notes = [f"safetensors files that the model does not use: {listed(aside)}"] if aside else []
    if stale_index(folder.files):
        notes.append(f"{INDEX} is left out: no shard of it is here, and {SINGLE} holds the model")
    return located, tuple(notes)


def stale_index(names: Collection[str]) -> bool:
    """Whether there is an index that transformers does not read, having found all weights in one file."""
    return SINGLE in names and INDEX in names


def _others(folder: Folder) -> list[str]:
    """The shards that are here, of those that the index names and of those that are called like one."""
    entries = read_document(folder.files[INDEX], at_most=64 * MEBIBYTE).get("weight_map")
    named = set(map(str, entries.values())) if isinstance(entries, dict) else set()
    return [name for name in folder.files if name != SINGLE and (name in named or _SHARD.fullmatch(name))]


def _no_weights(folder: Folder) -> CheckpointError:
    others = [name for name in folder.files if name.endswith((".safetensors", ".safetensors.index.json"))]
    if others:
        found = f"only {listed(others)}"
        fix = f"transformers reads no other name. One whole file: rename it to {SINGLE}. Shards: save the model again."
        return refusal("weights", found, f"{SINGLE}, or {INDEX} and its shards", fix)
    if folder.unopened:
        found = f"no safetensors, only {listed(list(folder.unopened))}, which is never opened (a pickle runs code)"
        return refusal("weights", found, SINGLE, f"Where you trust the files: load them there. {_SAVE}")
    return refusal("weights", "none", f"{SINGLE}, or {INDEX} and its shards", _SAVE)


def _weight_map(folder: Folder) -> dict[str, str]:
    document = read_document(folder.files[INDEX], at_most=64 * MEBIBYTE)
    if not isinstance(document.get("metadata"), dict):
        fix = 'Write "metadata": {} into it: transformers cannot load an index without.'
        found = shown(document["metadata"]) if "metadata" in document else "nothing"
        raise refusal(f"{INDEX}: metadata", found, "an object", fix)
    entries: Any = document.get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise refusal(f"{INDEX}: weight_map", shown(entries), "an object from tensor names to shard files")
    defects = []
    for tensor, shard in entries.items():
        if (
            not isinstance(shard, str)
            or Path(shard).name != shard
            or "\\" in shard
            or not shard.endswith(".safetensors")
        ):
            where, expected = f"{INDEX}: weight_map[{shown(tensor)}]", "the bare name of a .safetensors file beside it"
            defects.append(Defect(where=where, found=shown(shard), expected=expected))
    missing = sorted({shard for shard in entries.values() if isinstance(shard, str)} - set(folder.files))
    if not defects:
        defects += [_missing(name, [t for t, shard in entries.items() if shard == name]) for name in missing]
    strays = sorted(name for name in folder.files if _SHARD.fullmatch(name) and name not in entries.values())
    if strays:
        expected, fix = "every shard in the index", "Delete what an earlier save left, or save again."
        defects.append(Defect(where=INDEX, found=f"no mention of {listed(strays)}", expected=expected, fix=fix))
    if defects:
        raise CheckpointError(f"{INDEX} does not describe the shards", defects)
    return entries


def _missing(shard: str, tensors: list[str]) -> Defect:
    fix = "Fetch or copy the shard again."
    return Defect(where=shown(shard), found="no such file", expected=f"{len(tensors)} tensors by {INDEX}", fix=fix)


def _located(folder: Folder, names: list[str], weight_map: dict[str, str] | None) -> Located:
    defects: list[Defect] = []
    located: dict[str, tuple[Path, Span]] = {}
    for name in names:
        with gather(defects):
            for span in read_header(folder.files[name]):
                if span.name in located:
                    other = located[span.name][0].name
                    found = f"the tensor {shown(span.name)}, also in {shown(other)}"
                    defects.append(Defect(where=shown(name), found=found, expected="each tensor once"))
                located[span.name] = (folder.files[name], span)
    if not defects and weight_map is not None:
        defects = _against_index(weight_map, located)
    if not defects and not located:
        defects = [Defect(where=names[0], found="no tensors", expected="the weights of a model", fix=_SAVE)]
    if defects:
        raise CheckpointError("The weights are not sound", defects)
    return tuple(located.values())


def _against_index(weight_map: dict[str, str], located: dict[str, tuple[Path, Span]]) -> list[Defect]:
    defects = []
    for tensor in sorted(set(weight_map) | set(located)):
        where, fix = f"{INDEX}: {shown(tensor)}", "Save the model again."
        actual = located[tensor][0].name if tensor in located else "no shard"
        named = weight_map.get(tensor, "left out")
        if actual != named:
            found = f"the index says {shown(named)}, the tensor is in {shown(actual)}"
            defects.append(Defect(where=where, found=found, expected="the same", fix=fix))
    return defects
