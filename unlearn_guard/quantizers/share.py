"""How much of a quantized model is in 4 bits, read off the bytes that were written."""

from collections.abc import Mapping
from pathlib import Path

from unlearn_guard.quantizers.coverage import Coverage
from unlearn_guard.quantizers.layers import directory_tensors
from unlearn_guard.records import StoredTensor

_PADDING = 8
"""Bits that a matrix may take beyond four an element: an odd number of codes ends in half a byte."""


def find(files: Mapping[str, StoredTensor], name: str) -> StoredTensor | None:
    """A tensor by the model's name, also in a file that leaves the base model's prefix out."""
    return files.get(name) or files.get(name.partition(".")[2])


def elements(found: Coverage, name: str) -> int:
    """How many weights a parameter that is to be in 4 bits has."""
    if name in found.experts:
        experts, rows, columns = found.experts[name]
        return experts * rows * columns
    rows, columns = found.linears[name.removesuffix(".weight")]
    return rows * columns


def in_four_bits(files: Mapping[str, StoredTensor], found: Coverage, name: str) -> bool:
    """Whether this parameter's codes are there, and take at most 4 bits a weight."""
    layer = name.removesuffix(".weight")
    packed = find(files, f"{layer}.qweight") or find(files, f"{layer}.weight_packed") or find(files, name)
    if packed is None:
        return False
    stored = 8 * sum(span.stop - span.start for span in packed.spans)
    matrices = found.experts[name][0] if name in found.experts else 1
    return 0 < stored <= 4 * elements(found, name) + _PADDING * matrices


def quantized_share(directory: Path, found: Coverage) -> tuple[int, int] | None:
    """Weights stored in at most 4 bits, of all weights outside embeddings and head; None where no file can be read.

    All weights are those of two dimensions or more: what formats leave in full precision counts below the line.
    """
    files = directory_tensors(directory)
    if not files or not found.total:
        return None
    return sum(elements(found, name) for name in found.units if in_four_bits(files, found, name)), found.total
