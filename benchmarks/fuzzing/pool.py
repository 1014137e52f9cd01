"""Inputs by their index, chunk by chunk, in as many processes as are asked for."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")


def in_chunks(chunk: Callable[[range], list[T]], first: int, count: int, *, size: int, jobs: int) -> Iterator[list[T]]:
    """What `chunk` makes of each `size` indices from `first` on, as they end. Several jobs have to pickle it."""
    spans = [range(begin, min(begin + size, first + count)) for begin in range(first, first + count, size)]
    if jobs == 1:
        yield from map(chunk, spans)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(chunk, span) for span in spans]):
            yield done.result()
