"""The secret by which the store knows its own entries: this user's, or one that several users share on request.

It lies outside the store, which may be shared, or restored by a CI cache: whoever can write there must not know it.
"""

import os
import secrets
import shlex
import stat
import tempfile
from pathlib import Path

from unlearn_guard.errors import Defect, StorageError, UsageError

ENVIRONMENT = "UNLEARN_GUARD_CACHE_KEY"
LENGTH = 32
"""Bytes of a key, at least."""

_LARGEST = 4096
_MAKE = "`(umask 077; head -c 32 /dev/urandom > FILE)` makes one"


def user_key(store: Path) -> bytes:
    """The key that UNLEARN_GUARD_CACHE_KEY names, else this user's own, made where there is none.

    Raises UsageError for a key that others could know or have chosen: readable by others, not ours, a link, too
    short, inside the store. StorageError where none can be made or read.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        path, fix = Path(named).expanduser(), f"{ENVIRONMENT} names a file of {LENGTH} bytes or more; {_MAKE}."
    else:
        path, fix = own_path(), f"Remove it: the next command makes another, and measures anew. Or set {ENVIRONMENT}."
    if path.resolve().is_relative_to(store.resolve()):
        elsewhere = "Whoever can write to the store must not know it: name another place for one of the two."
        raise _refused(path, f"a file inside the store {store}", "one that lies elsewhere", elsewhere)
    if not named:
        _make(path)
    content = _read(path, fix)
    if named:
        content = content.rstrip(b"\r\n")  # a text ends with a newline on one machine and not on another
    if not LENGTH <= len(content) <= _LARGEST:
        raise _refused(path, f"{len(content)} bytes", f"{LENGTH} to {_LARGEST}", fix)
    return content


def own_path() -> Path:
    """Where this user's own key lies: beside other programs' data, not in a cache."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("unlearn-guard", appauthor=False)) / "store.key"


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; of two processes at once, both then read the same one."""
    if os.path.lexists(path):
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".store.key.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(LENGTH))
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        except FileExistsError:  # another process was first, and its key is the user's
            pass
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}, the key of the store's entries, cannot be written: {error.strerror or error}",
            fix=f"Set XDG_DATA_HOME to a folder of yours that can be written to, or {ENVIRONMENT} to a file of "
            f"{LENGTH} bytes that only you can read: {_MAKE}.",
        ) from error


def _read(path: Path, fix: str) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise _refused(path, "a link", "the file itself", fix) from error
        raise StorageError(
            f"{path}, the key of the store's entries, cannot be read: {error.strerror or error}", fix=fix
        ) from error
    try:
        held = os.fstat(handle)
        if not stat.S_ISREG(held.st_mode):
            raise _refused(path, "no plain file", "a plain file", fix)
        if held.st_uid != os.geteuid():
            found, expected = f"a file of user {held.st_uid}", f"one of yours, user {os.geteuid()}"
            raise _refused(path, found, expected, _whose(path, held.st_uid) + fix)
        if held.st_mode & 0o077:
            found, first = f"mode {stat.S_IMODE(held.st_mode):04o}", "If nobody else has read it: `chmod 600`. "
            raise _refused(path, found, "0600: nobody else may read or write it", first + fix)
        return os.read(handle, _LARGEST + 1)
    finally:
        os.close(handle)


def _whose(path: Path, owner: int) -> str:
    """What to do where the key is one's own, but for `sudo`. A stranger's must not be taken over."""
    if os.geteuid() == 0:
        return f"If it is yours: run this as user {owner}, without sudo. "
    command = f"sudo chown {os.geteuid()} {shlex.quote(str(path))}"
    return f"If you made it yourself, with sudo or in a container: `{command}`. "


def _refused(path: Path, found: str, expected: str, fix: str) -> UsageError:
    return UsageError(
        "the key of the store's entries cannot be used",
        [Defect(where=str(path), found=found, expected=expected)],
        fix=fix,
    )
