"""Keep the libraries' own output off the terminal, and keep it.

torch, transformers, bitsandbytes and gptqmodel write to file descriptors 1 and 2 from Python, from C++
and from child processes. While a run measures, both lead to a log in the run directory; what this
program itself has to say goes through `terminal()`, opened before.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import UnsupportedOperation
from pathlib import Path
from typing import TextIO


def terminal(stream: TextIO) -> TextIO:
    """A stream to where `stream` leads now, whatever happens to its descriptor later."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="replace", buffering=1)
    except UnsupportedOperation:  # a test's StringIO has no descriptor, so nothing can happen to it
        return stream


@contextmanager
def chatter_to(log: Path) -> Iterator[None]:
    """Descriptors 1 and 2 of this process and its children append to `log` until the block ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for number in kept:
            os.dup2(descriptor, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in kept.items():
            os.dup2(original, number)
            os.close(original)
        os.close(descriptor)
