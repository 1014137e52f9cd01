"""How far a tensor moved from base's, read in chunks: |candidate - base| / |base| in float64."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unlearn_guard.errors import needed
from unlearn_guard.intake.defects import refusal
from unlearn_guard.intake.dtypes import BITS, Values, rounded, values
from unlearn_guard.records import StoredTensor

ELEMENTS = 2**20
"""Elements compared at a time: 16 MiB of float64 for the two sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One edited tensor: L2 norm of the update, and that over the norm of base's tensor (None where it is 0).

    `changed` counts elements whose value differs, of `elements`.
    """

    name: str
    dtype: str
    elements: int
    changed: int
    norm: float
    relative: float | None


def update(base: StoredTensor, candidate: StoredTensor) -> Update | None:
    """The update of one tensor, or None where its dtype has no values of its own (packed, complex)."""
    if not _comparable(base, candidate):
        return None
    squares = base_squares = 0.0
    changed = 0
    for left, right in _pairs(base, candidate):
        step = right - left
        squares += float(step @ step)
        base_squares += float(left @ left)
        changed += int(np.count_nonzero(step))
    norm = math.sqrt(squares)
    return Update(
        name=candidate.name,
        dtype=candidate.dtype,
        elements=math.prod(candidate.shape),
        changed=changed,
        norm=norm,
        relative=norm / math.sqrt(base_squares) if base_squares else None,
    )


def same_values(base: StoredTensor, candidate: StoredTensor) -> bool:
    """Whether a tensor holds base's values; in another dtype, whether either side is the other one rounded.

    A cast from bf16 to fp32 or back is not an edit.
    """
    if base.dtype == candidate.dtype:
        same = zip(_bytes(base, ELEMENTS), _bytes(candidate, ELEMENTS), strict=True)
        return base.shape == candidate.shape and all(left == right for left, right in same)
    if base.shape != candidate.shape or not _comparable(base, candidate):
        return False
    return all(_same(base.dtype, left, candidate.dtype, right) for left, right in _pairs(base, candidate))


def _same(base_dtype: str, left: Values, candidate_dtype: str, right: Values) -> bool:
    if np.array_equal(left, right):
        return True
    down, up = rounded(candidate_dtype, left), rounded(base_dtype, right)
    return (down is not None and np.array_equal(down, right)) or (up is not None and np.array_equal(up, left))


def _comparable(base: StoredTensor, candidate: StoredTensor) -> bool:
    return all(values(each.dtype, b"") is not None for each in (base, candidate)) and base.shape == candidate.shape


def _pairs(base: StoredTensor, candidate: StoredTensor) -> Iterator[tuple[Values, Values]]:
    yield from zip(_values(base), _values(candidate), strict=True)


def _values(tensor: StoredTensor) -> Iterator[Values]:
    """The values of one tensor, ELEMENTS at a time."""
    for chunk in _bytes(tensor, ELEMENTS * BITS[tensor.dtype] // 8):
        yield needed(values(tensor.dtype, chunk), f"a way to read {tensor.dtype}")


def _bytes(tensor: StoredTensor, step: int) -> Iterator[bytes]:
    """The bytes of one tensor, `step` at a time whatever its spans, the last piece perhaps shorter."""
    piece = bytearray()
    for span in tensor.spans:
        with span.file.open("rb") as stream:
            stream.seek(span.start)
            left = span.stop - span.start
            while left:
                got = stream.read(min(left, step - len(piece)))
                if not got:
                    raise refusal(span.file.name, "an end before its last tensor's", "the file that was read")
                piece += got
                left -= len(got)
                if len(piece) == step:
                    yield bytes(piece)
                    piece.clear()
    if piece:
        yield bytes(piece)
