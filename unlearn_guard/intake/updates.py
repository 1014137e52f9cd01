"""How far a tensor moved from base's, read in chunks: |candidate - base| / |base| in float64."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from unlearn_guard.intake.dtypes import BITS, Values, rounded, values
from unlearn_guard.intake.weights import Tensor, chunks

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


def update(base: Tensor, candidate: Tensor) -> Update | None:
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
        elements=candidate.elements,
        changed=changed,
        norm=norm,
        relative=norm / math.sqrt(base_squares) if base_squares else None,
    )


def same_values(base: Tensor, candidate: Tensor) -> bool:
    """Whether a tensor holds base's values; in another dtype, whether either side is the other one rounded.

    A cast from bf16 to fp32 or back is not an edit.
    """
    if base.digest == candidate.digest:
        return True
    if base.dtype == candidate.dtype or base.shape != candidate.shape or not _comparable(base, candidate):
        return False
    return all(_same(base.dtype, left, candidate.dtype, right) for left, right in _pairs(base, candidate))


def _same(base_dtype: str, left: Values, candidate_dtype: str, right: Values) -> bool:
    if np.array_equal(left, right):
        return True
    down, up = rounded(candidate_dtype, left), rounded(base_dtype, right)
    return (down is not None and np.array_equal(down, right)) or (up is not None and np.array_equal(up, left))


def _comparable(base: Tensor, candidate: Tensor) -> bool:
    return all(values(each.dtype, b"") is not None for each in (base, candidate)) and base.shape == candidate.shape


def _pairs(base: Tensor, candidate: Tensor) -> Iterator[tuple[Values, Values]]:
    with ExitStack() as stack:
        streams = [stack.enter_context(_Values(each)) for each in (base, candidate)]
        yield from zip(*streams, strict=True)


class _Values:
    """The values of one tensor, ELEMENTS at a time."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __enter__(self) -> Iterator[Values]:
        self.handle = os.open(self.tensor.file, os.O_RDONLY | os.O_CLOEXEC)
        return self._read()

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)

    def _read(self) -> Iterator[Values]:
        tensor, step = self.tensor, ELEMENTS * BITS[self.tensor.dtype] // 8
        for chunk in chunks(self.handle, tensor.file, tensor.start, tensor.stop, step):
            found = values(tensor.dtype, chunk)
            assert found is not None
            yield found
