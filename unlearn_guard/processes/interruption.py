"""An interrupt that is never lost: Ctrl-C, and what a CI or a closing terminal sends in its place.

Python raises KeyboardInterrupt wherever the program happens to be. Inside a library's clean-up or import hook it
may be swallowed there or come out as another error, and the run would go on. So the request is also remembered, and
the next stage heeds it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; a CI's, a container's or `kill`'s request to end; a terminal that has gone, unless `nohup` shuts that out."""

_asked = False
_open = False


@contextmanager
def remembered() -> Iterator[None]:
    """While open, each of SIGNALS is remembered as well as raised. For the main thread, as signals are."""
    global _asked, _open
    previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
    _answer_with(_remember)
    _open = True
    try:
        yield
    finally:
        if _open:
            for number, handler in previous.items():
                signal.signal(number, handler)
        _asked = _open = False


def listen_again() -> None:
    """After a library's own answer to these signals was put in the place of ours: ours again."""
    if _open:
        _answer_with(_remember)


def asked() -> bool:
    """Whether an interrupt has come."""
    return _asked


def heed() -> None:
    """Raises KeyboardInterrupt if one was asked for and swallowed."""
    if _asked:
        raise KeyboardInterrupt


def leave(status: int) -> NoReturn:
    """End this process with a status that is settled: an interrupt hastens that, and does not change the status."""
    global _open

    def at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands every handler
        with suppress(Exception):  # a pipe that nobody reads any more
            sys.stdout.flush()
        os._exit(status)

    _answer_with(at_once)
    _open = False
    sys.exit(status)


def _answer_with(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _remember(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal hands every handler
    global _asked
    _asked = True
    raise KeyboardInterrupt
