"""The header of a safetensors file, read by our own strict parser: a short error for each way it can lie.

Layout: 8 bytes little-endian length N, N bytes JSON (`{name: {dtype, shape, data_offsets}}`), then the
data. Offsets count from the end of the header; tensors lie end to end and fill the file exactly.
Source: the safetensors format description; upstream reports truncation and trailing bytes alike.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import refusal, shown
from unlearn_guard.intake.documents import parse_object
from unlearn_guard.intake.dtypes import BITS

LONGEST = 100_000_000
"""Bytes of header; the format's own bound."""

MOST_ELEMENTS = 2**63 - 1
COPY_AGAIN = "The copy or download is broken: fetch the file again."
_TENSOR_KEYS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One tensor as its header describes it: bytes `start` to `stop` of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def elements(self) -> int:
        """Product of the shape; 1 for a scalar."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[Span, ...]:
    """The tensors of a safetensors file, in file order. Raises CheckpointError with every defect of the header."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            length = _length(stream.read(8), size, path.name)
            raw = stream.read(length)
    except OSError as error:
        raise refusal(path.name, f"it cannot be read ({error.strerror})", "a readable file") from error
    if len(raw) < length:
        raise refusal(path.name, f"a file that ended after {8 + len(raw)} bytes", f"{size}", COPY_AGAIN)
    if not raw.startswith(b"{"):
        raise refusal(path.name, f"a header that begins with {shown(raw[:8])}", "'{': this is no safetensors file")
    return _spans(parse_object(raw, f"{path.name}: header"), 8 + length, size, path.name)


def _length(prefix: bytes, size: int, file: str) -> int:
    if len(prefix) < 8:
        found = "an empty file" if size == 0 else f"{size} bytes"
        raise refusal(file, found, "a safetensors file (8 bytes of length, a header, the data)", COPY_AGAIN)
    length = int.from_bytes(prefix, "little")
    if length > LONGEST:
        raise refusal(file, f"a header length of {length} bytes", f"at most {LONGEST}: this is no safetensors file")
    if length > size - 8:
        found = f"a header of {length} bytes in a file of {size}"
        raise refusal(file, found, f"at least {8 + length} bytes", COPY_AGAIN)
    return length


def _spans(header: dict[str, Any], data: int, size: int, file: str) -> tuple[Span, ...]:
    defects: list[Defect] = []
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        found, expected = shown(metadata), "an object whose values are strings"
        defects.append(Defect(where=f"{file}: __metadata__", found=found, expected=expected))
    spans = []
    for name, entry in header.items():
        span = _span(name, entry, data, f"{file}: tensor {shown(name)}")
        if isinstance(span, Defect):
            defects.append(span)
        else:
            spans.append(span)
    spans.sort(key=lambda span: (span.start, span.stop))
    if not defects:  # a span that is missing from the list would look like a gap
        defects.extend(_tiling(spans, data, size, file))
    if defects:
        raise CheckpointError(f"{file} is not a sound safetensors file", defects)
    return tuple(spans)


def _span(name: str, entry: Any, data: int, where: str) -> Span | Defect:
    if not isinstance(entry, dict) or set(entry) != _TENSOR_KEYS:
        return Defect(where=where, found=shown(entry), expected="an object of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        return Defect(where=f"{where}: dtype", found=shown(dtype), expected=f"one of {', '.join(sorted(BITS))}")
    if not _sizes(shape):
        return Defect(where=f"{where}: shape", found=shown(shape), expected="a list of whole numbers from 0")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        return Defect(where=f"{where}: data_offsets", found=shown(offsets), expected="[begin, end], begin <= end")
    if _overflows(shape):
        return Defect(where=f"{where}: shape", found=f"{shown(shape)}, 2^63 elements or more", expected="fewer")
    span = Span(name=name, dtype=dtype, shape=tuple(shape), start=data + offsets[0], stop=data + offsets[1])
    bits = span.elements * BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        found = f"{offsets[1] - offsets[0]} bytes of data for shape {shown(shape)} in {dtype}"
        return Defect(where=where, found=found, expected=f"{bits / 8:.15g} bytes", fix=COPY_AGAIN)
    return span


def _sizes(value: Any) -> bool:
    # bool is an int to Python; a shape of [true] is not one to safetensors
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= MOST_ELEMENTS for size in value)


def _overflows(shape: list[int]) -> bool:
    # step by step: the full product of a hostile shape is a number of millions of digits
    count = 1
    for size in shape:
        count *= size
        if count > MOST_ELEMENTS:
            return True
    return False


def _tiling(spans: list[Span], data: int, size: int, file: str) -> list[Defect]:
    defects, end = [], data
    for span in spans:
        if span.start != end:
            kind = "overlaps the tensor before it" if span.start < end else f"follows a gap of {span.start - end} bytes"
            found = f"data that {kind} (starts at byte {span.start} of the file)"
            where = f"{file}: tensor {shown(span.name)}: data_offsets"
            defects.append(Defect(where=where, found=found, expected=f"to start at byte {end}", fix=COPY_AGAIN))
        end = max(end, span.stop)
    if end > size:
        found = f"a file cut short: {size} bytes"
        defects.append(Defect(where=file, found=found, expected=f"{end} bytes by its header", fix=COPY_AGAIN))
    elif end < size:
        found = f"{size - end} trailing bytes that belong to no tensor"
        defects.append(Defect(where=file, found=found, expected=f"{end} bytes by its header", fix=COPY_AGAIN))
    return defects
