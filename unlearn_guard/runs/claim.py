"""An output directory is taken by one run at a time, and only if it is empty or a run's."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn_guard.errors import Defect, RunDirectoryError, TakenError
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.atomic import storage_error

MARKER = ".unlearn-guard"
"""The lock file. It stays, and tells that the directory is ours even where a run was killed half-way."""

_held: dict[Path, int] = {}
_guard = threading.Lock()


@contextmanager
def claim(directory: Path) -> Iterator[None]:
    """Hold `directory` (made if need be) against other runs; again inside the same process is free.

    Raises TakenError when another run holds it, RunDirectoryError when it holds something that is not a run,
    StorageError when it cannot be made. The lock goes with the process, so a killed run leaves none.
    """
    path = directory.resolve()
    with _guard:
        handle = _held.get(path)
    if handle is not None:
        yield
        return
    handle = _lock(directory)
    with _guard:
        _held[path] = handle
    try:
        yield
    finally:
        with _guard:
            del _held[path]
        os.close(handle)


def _lock(directory: Path) -> int:
    _refuse_foreign(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error(directory, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise TakenError(
            f"{directory}: another run is writing here", fix="Wait for it, or give this run its own --out."
        ) from error
    except OSError as error:
        os.close(handle)
        raise storage_error(directory, error) from error
    return handle


def _refuse_foreign(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise RunDirectoryError(
            f"{directory} cannot hold a run",
            [Defect(where=str(directory), found="a file", expected="a directory, or nothing yet")],
        )
    try:
        names = sorted(each.name for each in directory.iterdir()) if directory.is_dir() else []
    except OSError as error:
        raise storage_error(directory, error) from error
    if names and MARKER not in names and not _is_run(directory / "run.json"):
        found = f"{', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
        raise RunDirectoryError(
            f"{directory} holds something that is not a run; nothing was written",
            [Defect(where=str(directory), found=found, expected="an empty directory or an earlier run")],
            fix="Choose another directory with --out.",
        )


def _is_run(path: Path) -> bool:
    """Whether a run.json is one of ours: a run that was copied may have lost the hidden marker."""
    try:
        content = strict_json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("schema", "")).startswith("unlearn-guard.run/")
