"""What a GGUF file says of itself: its metadata, and where each tensor's bytes lie. Nothing is believed unchecked.

A count of a header makes readers allocate and loop before they look at the file's end, so every count, length and
offset is held against what is left of the file first. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, PluginError
from unlearn_guard.intake.defects import refusal, shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_TENSORS, MOST_KEYS, MOST_DIMENSIONS = 65_536, 65_536, 4
LONGEST_KEY, LONGEST_TEXT, MOST_ELEMENTS = 65_535, 2**24, 2**26
"""Published files stay under 2,000 tensors, 100 keys, 100 KiB a text and 600,000 elements an array."""

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_AGAIN = "Copy or download the file again."


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """One tensor: its shape in torch's order, ggml's number of its type, and its bytes in the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFile:
    """A file whose header is sound, with every tensor inside it."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    @property
    def architecture(self) -> str:
        """The model family, in llama.cpp's word."""
        return str(self.metadata.get("general.architecture"))


def assert_gguf() -> None:
    """Raise PluginError where the library that knows GGUF's number formats is not installed."""
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise PluginError(
            "GGUF files are read with the package gguf, which is not installed",
            fix="pip install 'unlearn-guard[real]'",
        ) from error


def read_gguf(path: Path) -> GgufFile:
    """Parse the header. Raises CheckpointError for a file that is no GGUF, is cut short, or whose counts are absurd."""
    if not path.is_file():
        raise refusal(str(path), "no such file", "a GGUF file")
    if path.stat().st_size < 24:
        raise refusal(path.name, f"{path.stat().st_size} bytes", "a GGUF file", _AGAIN)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        reader = _Reader(view, path.name)
        metadata, tensors = _header(reader)
    return GgufFile(path=path, metadata=metadata, tensors=tensors)


class _Reader:
    """A position in the file; nothing is taken from beyond its end."""

    def __init__(self, view: mmap.mmap, name: str) -> None:
        self.view, self.name, self.size, self.at = view, name, len(view), 0

    def take(self, count: int, what: str) -> bytes:
        if count > self.size - self.at:
            found = f"{what} that ends {count - (self.size - self.at)} bytes after the file's end"
            raise refusal(self.name, found, "a whole file", _AGAIN)
        raw = self.view[self.at : self.at + count]
        self.at += count
        return raw

    def number(self, code: str, what: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def count(self, most: int, each: int, what: str) -> int:
        """A number of things of at least `each` bytes, which have to fit into what is left."""
        found: int = self.number("Q", what)
        if found > most or found * each > self.size - self.at:
            left = self.size - self.at
            raise refusal(self.name, f"{what} {found}", f"at most {min(most, left // max(each, 1))}", _AGAIN)
        return found

    def text(self, most: int, what: str) -> str:
        raw = self.take(self.count(most, 1, f"the length of {what}"), what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise refusal(self.name, f"{what} that is not UTF-8", "text in UTF-8", _AGAIN) from error

    def value(self, kind: int, key: str) -> Any:
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind], key)
        if kind == _TEXT:
            return self.text(LONGEST_TEXT, key)
        if kind == _ARRAY:
            return self._array(key)
        raise refusal(self.name, f"{key} of the unknown type {kind}", "a type of GGUF 3", _AGAIN)

    def _array(self, key: str) -> list[Any]:
        kind = self.number("I", key)
        if kind == _TEXT:
            return [self.text(LONGEST_TEXT, key) for _ in range(self.count(MOST_ELEMENTS, 8, f"{key}: elements"))]
        if kind not in _NUMBERS:
            raise refusal(self.name, f"{key}: an array of type {kind}", "an array of texts or numbers")
        width = struct.calcsize("<" + _NUMBERS[kind])
        count = self.count(MOST_ELEMENTS, width, f"{key}: elements")
        return list(struct.unpack(f"<{count}{_NUMBERS[kind]}", self.take(count * width, key)))


def _header(reader: _Reader) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
    if (magic := reader.take(4, "the magic")) != MAGIC:
        raise refusal(reader.name, f"a file that begins with {magic!r}", "GGUF's magic, b'GGUF'")
    version = reader.number("I", "the version")
    if version not in VERSIONS:
        raise refusal(reader.name, f"version {version}", "2 or 3, little-endian")
    tensors = reader.count(MOST_TENSORS, 24, "the number of tensors")
    keys = reader.count(MOST_KEYS, 13, "the number of keys")
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        key = _shown_key(reader.text(LONGEST_KEY, "a key"))
        if key in metadata:
            raise refusal(reader.name, f"{key} twice", "each key once")
        metadata[key] = reader.value(reader.number("I", key), key)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 1 <= alignment <= 2**20:
        raise refusal(reader.name, f"general.alignment {shown(alignment)}", "1 to 1048576")
    entries = [_entry(reader) for _ in range(tensors)]
    first = -(-reader.at // alignment) * alignment
    located: dict[str, GgufTensor] = {}
    for name, shape, kind, offset in entries:
        if name in located:
            raise refusal(reader.name, f"the tensor {shown(name)} twice", "each tensor once")
        located[name] = _located(reader, name, shape, kind, first + offset)
    return metadata, located


def _shown_key(key: str) -> str:
    """A key fit for messages: the published ones are, and stay as they are."""
    return key if key.isprintable() else shown(key)


def _entry(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name = reader.text(LONGEST_KEY, "a tensor's name")
    dimensions = reader.number("I", "a tensor's dimensions")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise refusal(reader.name, f"{shown(name)} of {dimensions} dimensions", f"1 to {MOST_DIMENSIONS}", _AGAIN)
    shape = tuple(reader.number("Q", "a tensor's shape") for _ in range(dimensions))
    return name, shape[::-1], reader.number("I", "a tensor's type"), reader.number("Q", "a tensor's offset")


def _located(reader: _Reader, name: str, shape: tuple[int, ...], kind: int, start: int) -> GgufTensor:
    elements, stop = math.prod(shape), start + stored_bytes(name, shape, kind)
    if elements == 0 or stop > reader.size:
        found = f"the tensor {shown(name)} of shape {shape} at byte {start}"
        raise refusal(reader.name, found, f"a tensor inside the file's {reader.size} bytes", _AGAIN)
    return GgufTensor(name=name, shape=shape, kind=kind, start=start, stop=stop)


def stored_bytes(name: str, shape: tuple[int, ...], kind: int) -> int:
    """Bytes of a tensor of this type. Raises CheckpointError for an unknown type, or rows that cut through a block."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (KeyError, ValueError):
        raise refusal(shown(name), f"ggml's type {kind}", "a type that the package gguf knows") from None
    if shape[-1] % block:
        raise refusal(shown(name), f"rows of {shape[-1]}", f"whole blocks of {block}", _AGAIN)
    return math.prod(shape) // int(block) * int(size)


def assert_readable(file: GgufFile, supported: Mapping[str, str]) -> None:
    """Raise CheckpointError, before anything large is read, for what is no whole language model of a known family."""
    if file.architecture not in supported:
        known = "; ".join(f"{name} ({about})" for name, about in supported.items())
        raise CheckpointError(
            f"{file.path.name}: models of the architecture {shown(file.architecture)} are not read",
            fix=f"Read: {known}.",
        )
    if file.metadata.get("split.count", 0) not in (0, 1):
        raise refusal(file.path.name, "one part of several", "a whole file", "`llama-gguf-split --merge` joins them.")
