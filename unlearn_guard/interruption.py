"""Ctrl-C that is never lost.

Python raises KeyboardInterrupt wherever the program happens to be. Inside a library's clean-up or import hook it
may be swallowed there, and the run would go on. So the request is also remembered, and the next stage heeds it.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = False


@contextmanager
def remembered() -> Iterator[None]:
    """While open, an interrupt is remembered as well as raised. For the main thread, as signals are."""
    global _asked
    previous = signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        _asked = False


def _remember(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands every handler
    global _asked
    _asked = True
    raise KeyboardInterrupt


def heed() -> None:
    """Raises KeyboardInterrupt if one was asked for and swallowed."""
    if _asked:
        raise KeyboardInterrupt
