"""A place for results that is no directory: an fsspec URL (s3, gs, ...), which knows neither locks nor renames.

What is kept there is what a cell or a site left: small files, whole or not there, each written by one request.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from unlearn_guard.errors import Defect, GuardError, RunDirectoryError, StorageError, UsageError
from unlearn_guard.runs.atomic import write_bytes

_PACKAGES = {"s3": "unlearn-guard[s3]", "gs": "unlearn-guard[gcs]", "gcs": "unlearn-guard[gcs]"}


def is_url(text: str) -> bool:
    """Whether this names a bucket; `file://...` does not, it is a directory like any other."""
    return "://" in text and urlsplit(text).scheme != "file"


def directory_of(text: str) -> Path:
    """The path of a directory, also where it is written as `file://...`."""
    return Path(url2pathname(urlsplit(text).path) if text.startswith("file://") else text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The objects below one URL. Names are relative, with `/`; every fault is a StorageError that names the URL."""

    url: str
    files: Any
    root: str

    def read(self, name: str) -> bytes | None:
        """An object's bytes, or None where there is none."""
        with self._told(name):
            try:
                return bytes(self.files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Replace an object in one request."""
        with self._told(name):
            self.files.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that is not there yet; False where it is. Of several that try, one succeeds."""
        with self._told(name):
            try:
                self.files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                return False
            return True

    def names(self, below: str) -> tuple[str, ...]:
        """The objects below a name, relative to it, sorted. RunDirectoryError for one that would lead out of it."""
        with self._told(below):
            self.files.invalidate_cache()  # others write here
            prefix = self._path(below)
            found = [str(path) for path in self.files.find(prefix)]
        names = sorted(path.removeprefix(prefix).lstrip("/") for path in found if path.startswith(f"{prefix}/"))
        for name in names:
            if "\\" in name or "\0" in name or not {".", "..", ""}.isdisjoint(name.split("/")):
                raise RunDirectoryError(
                    f"{self.url} holds what no run wrote",
                    [Defect(where=f"{self.url}/{below}", found=repr(name)[:80], expected="plain names")],
                )
        return tuple(names)

    def download(self, below: str, into: Path) -> None:
        """Every object below a name as files, into a directory."""
        for name in self.names(below):
            data = self.read(f"{below}/{name}")
            if data is None:
                raise StorageError(
                    f"{self.url}/{below}/{name} went while it was read", fix="Run the same command again."
                )
            write_bytes(into / PurePosixPath(name), data)

    def upload(self, folder: Path, below: str) -> None:
        """Every file of a directory, hidden ones aside; what else lay below that name goes first."""
        wanted = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        with self._told(below):
            stale = set(self.names(below)) - {path.relative_to(folder).as_posix() for path in wanted}
            for name in stale:
                self.files.rm_file(self._path(f"{below}/{name}"))
        for path in wanted:
            self.write(f"{below}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Each library has exceptions of its own for a network, a login, a quota."""
        try:
            yield
        except GuardError:
            raise
        except Exception as error:
            raise StorageError(
                f"{self.url}/{name}: {type(error).__name__}: {str(error)[:300]}",
                fix="Is the network there, and may these credentials read and write?",
            ) from error


def open_bucket(url: str) -> Bucket:
    """The bucket of a URL. UsageError for a protocol that nobody knows, or whose package is not installed."""
    from fsspec.core import url_to_fs

    scheme = urlsplit(url).scheme
    try:
        files, root = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        package = _PACKAGES.get(scheme)
        fix = f"pip install '{package}'" if package else "Give a directory, or a URL such as s3://BUCKET/FOLDER."
        raise UsageError(f"{url}: {error}", fix=fix) from error
    return Bucket(url=url.rstrip("/"), files=files, root=str(root).rstrip("/"))
