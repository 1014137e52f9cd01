"""Half-made things: each in a folder of its own beside the place it is for, until it is whole and moved there.

The folder goes when its maker is done or fails. A maker that was killed leaves it; the next one there takes it away.
A lock, which goes with its process, tells the two apart.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unlearn_guard.errors import StorageError

PREFIX = ".unlearn-guard-making-"
FORGOTTEN = 7 * 24 * 3600
"""Seconds after which a folder without a lock goes too: its file system has no locks, or its maker got no further."""

_LOCK = "lock"


@contextmanager
def making(beside: Path) -> Iterator[Path]:
    """An empty folder on the file system of `beside`, to be filled and then moved to where it belongs.

    It is private as long as it lies there. What else its maker needs meanwhile may lie next to it.
    Raises StorageError where there can be none.
    """
    try:
        beside.mkdir(parents=True, exist_ok=True)
        sweep(beside)
        folder = Path(tempfile.mkdtemp(dir=beside, prefix=PREFIX))
        lock = os.open(folder / "taking", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # no locks here
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "taking").rename(folder / _LOCK)  # nobody sees it before it is held
        whole = folder / "whole"
        whole.mkdir()
    except OSError as error:
        raise StorageError(
            f"{beside} cannot be written: {error.strerror or error}",
            fix="Free some space or choose another place, then run the same command again.",
        ) from error
    try:
        yield whole
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(beside: Path) -> None:
    """Take away what makers that were killed have left in this folder."""
    for folder in beside.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > FORGOTTEN:
                    shutil.rmtree(folder, ignore_errors=True)
            continue
        with suppress(OSError):  # somebody holds it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
