"""Every byte of every tensor, read once: its digest, and whether it holds NaN or infinity.

A NaN in the weights makes every logit NaN, an argmax over NaN answers "A" each time, and a quarter
right reads as perfect forgetting. So weights are scanned while they are hashed.
"""

import hashlib
import math
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import refusal, shown
from unlearn_guard.intake.dtypes import NON_FINITE
from unlearn_guard.intake.header import Span
from unlearn_guard.reading.strict_json import canonical

CHUNK = 2**20
"""Bytes read at a time and thread: small enough to stay in the cache between hashing and scanning."""

WORKERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor on disk: bytes `start` to `stop` of `file`, and the sha256 over dtype, shape and bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    stop: int
    digest: str

    @property
    def elements(self) -> int:
        """Product of the shape; 1 for a scalar."""
        return math.prod(self.shape)


def scan(spans: Iterable[tuple[Path, Span]]) -> tuple[Tensor, ...]:
    """Digest every tensor, sorted by name. Raises CheckpointError naming each tensor with a NaN or an infinity.

    Holds CHUNK bytes a thread, whatever the size of the model.
    """
    wanted = sorted(spans, key=lambda pair: pair[1].name)
    files = sorted({file for file, _ in wanted})
    handles: dict[Path, int] = {}
    try:
        for file in files:
            handles[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with ThreadPoolExecutor(WORKERS) as pool:
            scanned = list(pool.map(lambda pair: _scan_one(handles[pair[0]], *pair), wanted))
    except OSError as error:
        raise refusal(Path(str(error.filename)).name, f"it cannot be read ({error.strerror})", "weights") from error
    finally:
        for handle in handles.values():
            os.close(handle)
    defects = [defect for _, defect in scanned if defect is not None]
    if defects:
        fix = "A training run that diverged leaves these; such a model cannot be scored."
        raise CheckpointError("The weights are not all numbers", defects, fix=fix)
    return tuple(tensor for tensor, _ in scanned)


def weights_digest(tensors: Iterable[Tensor]) -> str:
    """sha256 over (name, dtype, shape, bytes) of all tensors: the same however they are sharded or ordered."""
    rows = sorted([each.name, each.digest] for each in tensors)
    return hashlib.sha256(canonical(rows)).hexdigest()


def chunks(handle: int, file: Path, start: int, stop: int, step: int = CHUNK) -> Iterator[memoryview]:
    """The bytes from start to stop, `step` at a time, each valid until the next is asked for."""
    view = _buffer(step)
    position = start
    while position < stop:
        wanted = min(step, stop - position)
        filled = 0
        while filled < wanted:
            got = os.preadv(handle, [view[filled:wanted]], position + filled)
            if got == 0:
                raise refusal(file.name, f"an end after {position + filled} bytes", f"{stop} or more: it was changed")
            filled += got
        yield view[:wanted]
        position += wanted


_local = threading.local()


def _buffer(step: int) -> memoryview:
    if step != CHUNK:
        return memoryview(bytearray(step))
    if not hasattr(_local, "view"):
        _local.view = memoryview(bytearray(CHUNK))
    view: memoryview = _local.view
    return view


def _scan_one(handle: int, file: Path, span: Span) -> tuple[Tensor, Defect | None]:
    digest = hashlib.sha256(canonical([span.dtype, list(span.shape)]))
    pattern = NON_FINITE.get(span.dtype)
    nans = infinities = 0
    for chunk in chunks(handle, file, span.start, span.stop):
        digest.update(chunk)
        if pattern is not None:
            found = pattern.count(np.frombuffer(chunk, pattern.word))
            nans, infinities = nans + found[0], infinities + found[1]
    tensor = Tensor(
        name=span.name,
        dtype=span.dtype,
        shape=span.shape,
        file=file,
        start=span.start,
        stop=span.stop,
        digest=digest.hexdigest(),
    )
    if nans + infinities == 0:
        return tensor, None
    found_text = f"{nans} NaN and {infinities} infinite of {tensor.elements} elements"
    return tensor, Defect(where=f"{file.name}: tensor {shown(span.name)}", found=found_text, expected="finite weights")
