"""Files that are either whole or not there, whatever happens while they are written."""

import glob
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from unlearn_guard.errors import StorageError

HALF_WRITTEN = ".*.tmp"
"""The names of files in the writing. One that is there an hour later was left by a process that was killed."""


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` with `data` in one step: a temporary file beside it, fsync, rename.

    Raises StorageError (disk full, read-only, no permission); then the old file, if any, is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files private; these are read by other users and jobs.
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f"{glob.escape(f'.{path.name[:40]}.')}*.tmp"):
        with suppress(FileNotFoundError):  # another process was quicker
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink()


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut, where the file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(path: Path, error: OSError) -> StorageError:
    """An OSError in the user's words, with the next step."""
    return StorageError(
        f"cannot write {path}: {error.strerror or error}",
        fix="Free some space or choose another place with --out, then run the same command again: "
        "finished steps are not repeated.",
    )


def _umask() -> int:
    # Reading it means setting it; 0o077 for the moment in between only makes files more private.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
