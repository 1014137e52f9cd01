"""How much of a quantized model is in its format's bits, read off the bytes that were written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from unlearn_guard.quantizers.coverage import Coverage
from unlearn_guard.quantizers.gguf_writing import code_bytes
from unlearn_guard.quantizers.layers import directory_tensors

_PADDING = 8
"""Bits that a matrix may take beyond its format's: an odd number of 4-bit codes ends in half a byte."""

Held = TypeVar("Held")


def find(files: Mapping[str, Held], name: str) -> Held | None:
    """A tensor by the model's name, also in a file that leaves the base model's prefix out."""
    return files.get(name) or files.get(name.partition(".")[2])


def elements(found: Coverage, name: str) -> int:
    """How many weights a parameter that is to be quantized has."""
    if name in found.experts:
        experts, rows, columns = found.experts[name]
        return experts * rows * columns
    rows, columns = found.linears[name.removesuffix(".weight")]
    return rows * columns


def stored_bytes(directory: Path) -> dict[str, int]:
    """How many bytes each tensor of a directory's safetensors files takes; empty where none can be read.

    Of a GGUF file those of its codes, without their scales, under the model's own names.
    """
    if any(directory.glob("*.gguf")):
        return code_bytes(directory)
    return {
        name: sum(span.stop - span.start for span in tensor.spans)
        for name, tensor in directory_tensors(directory).items()
    }


def in_bits(files: Mapping[str, int], found: Coverage, name: str, bits: int) -> bool:
    """Whether this parameter's codes are there, and take at most `bits` a weight. `files` has bytes by name."""
    layer = name.removesuffix(".weight")
    packed = find(files, f"{layer}.qweight") or find(files, f"{layer}.weight_packed") or find(files, name)
    if packed is None:
        return False
    matrices = found.experts[name][0] if name in found.experts else 1
    return 0 < 8 * packed <= bits * elements(found, name) + _PADDING * matrices


def quantized_share(files: Mapping[str, int], found: Coverage, bits: int) -> tuple[int, int] | None:
    """Weights stored in at most `bits` bits, of all outside embeddings and head; None where no file can be read.

    `files` are `stored_bytes`. All weights are those of two dimensions or more: what formats leave in full precision
    counts below the line.
    """
    if not files or not found.total:
        return None
    return sum(elements(found, name) for name in found.units if in_bits(files, found, name, bits)), found.total
