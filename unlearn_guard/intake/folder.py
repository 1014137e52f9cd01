"""What lies in a checkpoint's directory: what is opened, what is named and never opened, and its state on disk."""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import listed, refusal, shown
from unlearn_guard.intake.location import Place

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "vocab.bpe",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
)
DOCUMENTS = (
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "quant_config.json",
    "unlearn_guard.json",
    "model.safetensors.index.json",
)
TEMPLATES = "additional_chat_templates"
_PICKLE = re.compile(r".*\.(bin|pt|pth|pkl|pickle|ckpt|joblib|npy|npz|msgpack|h5)", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r".*\.(py|so|pyc|sh)", re.IGNORECASE | re.DOTALL)
_OTHER_MODELS = re.compile(r".*\.(safetensors|gguf|ggml|onnx|tflite|keras|mar|nemo)", re.IGNORECASE | re.DOTALL)

SMALL = 2**20
"""Bytes of the largest file that is taken for a text beside the model: a card, a licence, a log."""

_MOST_ASIDE = 1_000


def may_run(name: str) -> bool:
    """Whether somebody might load a file of this name as a model or run it: what must not ride along unjudged."""
    return any(kind.fullmatch(name) for kind in (_PICKLE, _CODE, _OTHER_MODELS))


def is_small_text(path: Path) -> bool:
    """Whether this is a plain file, no link, of at most SMALL bytes of UTF-8 text: no loader finds weights in it."""
    try:
        mode = path.lstat()
        if not stat.S_ISREG(mode.st_mode) or mode.st_size > SMALL:
            return False
        raw = path.read_bytes()
        raw.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return b"\0" not in raw


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What tells that a file is still the one that was read. The change time catches a rewrite that sets mtime back."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The files of a checkpoint by name, and what lies beside them and is left out of everything.

    `unopened` are pickles and code at the top, which nothing here ever reads; `aside` is everything else, in folders
    too, that some loader could read as weights.
    """

    directory: Path
    files: Mapping[str, Path]
    unopened: tuple[str, ...]
    aside: tuple[str, ...]

    def states(self, names: Iterable[str]) -> tuple[FileState, ...]:
        """The state of these files now."""
        return tuple(state(self.files[name]) for name in sorted(names))

    def tokenizer_files(self) -> tuple[str, ...]:
        """The names of those files that shape how text becomes token ids."""
        return tuple(name for name in sorted(self.files) if name in TOKENIZER_FILES or name.endswith(".jinja"))


def read_folder(place: Place) -> Folder:
    """List a directory. Raises CheckpointError naming every file that leaves it, is broken, or is no plain file."""
    files: dict[str, Path] = {}
    unopened: list[str] = []
    defects: list[Defect] = []
    for name in _names(place.directory):
        if _PICKLE.fullmatch(name) or _CODE.fullmatch(name):
            unopened.append(name)
        elif _counts(name):
            defect = _unsafe(place, name)
            if defect is None:
                files[name] = place.directory / name
            else:
                defects.append(defect)
    if defects:
        raise CheckpointError("Files that cannot be opened safely", defects)
    aside = _aside(place.directory, {*files, *unopened})
    return Folder(directory=place.directory, files=files, unopened=tuple(unopened), aside=aside)


def _aside(directory: Path, known: set[str]) -> tuple[str, ...]:
    """Files below the directory, beside the known ones, that are no small texts or are called like a model."""
    found: list[str] = []
    for folder, _, names in os.walk(directory):
        for name in sorted(names):
            path = Path(folder) / name
            shown_as = path.relative_to(directory).as_posix()
            if shown_as not in known and (may_run(name) or not is_small_text(path)):
                found.append(shown_as)
            if len(found) >= _MOST_ASIDE:
                return tuple(sorted(found))
    return tuple(sorted(found))


def _counts(name: str) -> bool:
    known = name in TOKENIZER_FILES or name in DOCUMENTS or name.endswith((".safetensors", ".safetensors.index.json"))
    return known or name in ("adapter_config.json",) or name.endswith(".jinja")


def _names(directory: Path) -> list[str]:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names, not paths
        extra = directory / TEMPLATES
        if extra.is_dir():
            names += [f"{extra.name}/{name}" for name in os.listdir(extra)]  # noqa: PTH208
    except OSError as error:
        raise CheckpointError(f"{shown(str(directory))} cannot be listed ({error.strerror})") from error
    return sorted(names)


def _unsafe(place: Place, name: str) -> Defect | None:
    path = place.directory / name
    target = Path(os.path.realpath(path))
    inside = target.is_relative_to(place.directory) or (place.blobs is not None and target.is_relative_to(place.blobs))
    if not inside:
        fix = "Copy the file itself into the directory (`cp -L`)."
        return Defect(where=shown(name), found=f"a link to {shown(str(target))}", expected="a file inside", fix=fix)
    try:
        mode = target.stat().st_mode
    except OSError as error:
        return Defect(where=shown(name), found=f"a broken link or file ({error.strerror})", expected="a readable file")
    if not stat.S_ISREG(mode):
        return Defect(where=shown(name), found="a directory, pipe or device", expected="a plain file")
    return None


def state(path: Path) -> FileState:
    """The state of one file now. Raises CheckpointError where it is gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise refusal(
            shown(path.name), f"it is gone or unreadable ({error.strerror})", "the file that was read"
        ) from error
    return FileState(
        path=path, size=found.st_size, mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns, inode=found.st_ino
    )


def left_out_notes(folder: Folder) -> tuple[str, ...]:
    """Lines that name what was left alone, if anything was."""
    notes = []
    if folder.unopened:
        notes.append(f"never opened (pickles and code can run programs): {listed(list(folder.unopened))}")
    if folder.aside:
        names = listed(list(folder.aside), most=50)
        notes.append(f"not judged and not to be released, though some loader could read weights in it: {names}")
    return tuple(notes)
