"""The sealed copy: the guard's own copy of the files that count, made while they are hashed.

Whoever can write to a candidate's directory can swap a file between hashing and loading, and can lay files beside
the known ones that some loader prefers. So each known file is opened once, by descriptor, and copied into a folder
that holds nothing else; everything after that reads the copy.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from unlearn_guard.errors import CheckpointError, Defect, StorageError
from unlearn_guard.intake.defects import gather, refusal, shown
from unlearn_guard.intake.documents import MEBIBYTE
from unlearn_guard.intake.folder import Folder
from unlearn_guard.intake.location import Place
from unlearn_guard.processes.half_made import PREFIX, making
from unlearn_guard.reading.strict_json import canonical

LARGEST = 256 * MEBIBYTE
"""Bytes of a file that holds no weights; published tokenizers stay under 40 MiB."""

CHUNK = 2**20
_CLONE = 0x40049409  # linux/fs.h: FICLONE, which shares the blocks of a file until one side writes


@dataclass(kw_only=True)
class Seal:
    """A copy in the making under `root`; `digests` holds the sha256 of each file taken so far."""

    place: Place
    root: Path
    working: Path
    digests: dict[str, str] = field(default_factory=dict)
    sound: bool = False

    def take(self, folder: Folder, names: Sequence[str]) -> None:
        """Copy these files of the folder, unless a copy of the same bytes is there: then they are only read.

        Raises CheckpointError with all that cannot be read, StorageError.
        """
        with _directory(self.place) as directory:
            if self._looks_sealed(folder, names):
                self._each(names, lambda name: self._read(directory, name, _digest))
                if self._is_sound():
                    return
            self._assert_room(folder, names)
            self._each(names, lambda name: self._read(directory, name, lambda source: self._write(source, name)))

    @property
    def key(self) -> str:
        """The digest of the files taken: what the copy is called."""
        return hashlib.sha256(canonical(dict(self.digests))).hexdigest()

    def publish(self) -> Path:
        """Put the copy under the digest of its files, or give the one that is already there, every byte verified."""
        target = self.root / self.key
        if not self._is_sound():
            shutil.rmtree(target, ignore_errors=True)
            try:
                self.working.replace(target)
            except OSError as error:
                if not self._is_sound():  # another process was first, or the disk refuses
                    raise _refused(target, error) from error
        return target

    def _is_sound(self) -> bool:
        """Whether the copy of these files is there, every byte of it; looked at once."""
        if not self.sound:
            self.sound = (self.root / self.key).is_dir() and file_digests(self.root / self.key) == self.digests
        return self.sound

    def _looks_sealed(self, folder: Folder, names: Sequence[str]) -> bool:
        """Whether some copy holds files of these names and sizes: only then is it worth hashing before copying."""
        sizes = {name: folder.files[name].stat().st_size for name in names}
        return any(_sizes(each) == sizes for each in self.root.iterdir() if not each.name.startswith(PREFIX))

    def _each(self, names: Sequence[str], take: Callable[[str], str]) -> None:
        defects: list[Defect] = []
        for name in names:
            with gather(defects):
                self.digests[name] = take(name)
        if defects:
            raise CheckpointError("Files that cannot be copied", defects)

    def _read(self, directory: int, name: str, use: Callable[[int], str]) -> str:
        """What `use` makes of the open file, which must not change meanwhile."""
        source = _open(directory, self.place, name)
        try:
            before = os.fstat(source)
            if not name.endswith(".safetensors") and before.st_size > LARGEST:
                raise refusal(shown(name), f"{before.st_size} bytes", f"at most {LARGEST}")
            digest = use(source)
            after = os.fstat(source)
        finally:
            os.close(source)
        if _state(before) != _state(after):
            fix = "Let nothing write to the directory during a check, and run it again."
            raise refusal(shown(name), "it changed while it was being copied", "a file that stays as it is", fix)
        return digest

    def _write(self, source: int, name: str) -> str:
        target = self.working / name
        target.parent.mkdir(exist_ok=True)
        return _clone_or_copy(source, target)

    def _assert_room(self, folder: Folder, names: Sequence[str]) -> None:
        needed = sum(folder.files[name].stat().st_size for name in names)
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise StorageError(
                f"{self.root} has {free / 1e9:.1f} GB free; the sealed copy of {self.place.directory} needs "
                f"{needed / 1e9:.1f} GB",
                fix="Free some space, or point UNLEARN_GUARD_CACHE to a larger disk.",
            )


@contextmanager
def sealing(place: Place, root: Path) -> Iterator[Seal]:
    """A new copy in a private folder under `root`; what is not published when the block ends is removed."""
    with making(root) as working:
        working.chmod(0o700)
        yield Seal(place=place, root=root, working=working)


@contextmanager
def sealed_folder(root: Path) -> Iterator[Seal]:
    """The same for files of our own making: what lies in its folder when it is published is what it holds."""
    with making(root) as working:
        working.chmod(0o700)
        yield Made(place=Place(directory=working, blobs=None), root=root, working=working)


class Made(Seal):
    """A sealed copy that the guard itself has written."""

    def publish(self) -> Path:
        """Put the folder under the digest of its files, or give the one that is already there, every byte verified."""
        self.digests = file_digests(self.working)
        return super().publish()


def file_digests(directory: Path) -> dict[str, str]:
    """The sha256 of every file of a sealed copy by its name with forward slashes; links and folders count as none."""
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as stream:
                found[path.relative_to(directory).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
        elif not stat.S_ISDIR(mode):
            found[path.relative_to(directory).as_posix()] = "neither a file nor a folder"
    return found


def write_release(sealed: Path, files: Mapping[str, str], out: Path) -> None:
    """Copy the sealed files to the new directory `out`, in one step. Raises StorageError.

    What is written is held against the digests in `files`, so that what ships is what was judged.
    """
    with making(out.parent) as part:
        try:
            for name in files:
                target = part / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(sealed / name, target)
            if file_digests(part) != dict(files):
                raise StorageError(f"{sealed} is not what was judged any more", fix="Run the check again.")
            if out.exists():
                out.rmdir()  # an empty folder, which the caller has looked at; anything else fails here
            part.replace(out)
        except OSError as error:
            raise _refused(out, error) from error


@contextmanager
def _directory(place: Place) -> Iterator[int]:
    try:
        handle = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise refusal("directory", f"it cannot be opened ({error.strerror})", "a readable directory") from error
    try:
        yield handle
    finally:
        os.close(handle)


def _open(directory: int, place: Place, name: str) -> int:
    """The file's descriptor, once it is seen to be a plain file that lies where it may."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        raise refusal(shown(name), f"it cannot be read ({error.strerror})", "a readable file") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise refusal(shown(name), "a directory, pipe or device", "a plain file")
        target = Path(os.path.realpath(f"/proc/self/fd/{handle}"))
        allowed = [Path(os.path.realpath(f"/proc/self/fd/{directory}")), *filter(None, [place.blobs])]
        if not any(target.is_relative_to(root) for root in allowed):
            fix = "Copy the file itself into the directory (`cp -L`)."
            raise refusal(shown(name), f"a link to {shown(str(target))}", "a file inside", fix)
    except CheckpointError:
        os.close(handle)
        raise
    return handle


def _clone_or_copy(source: int, target: Path) -> str:
    """Copy an open file and return the sha256 of what was written; blocks are shared where the filesystem can."""
    import fcntl

    digest = hashlib.sha256()
    try:
        with target.open("xb+") as stream:
            try:
                fcntl.ioctl(stream.fileno(), _CLONE, source)
            except OSError:  # another filesystem, or one that cannot share
                while chunk := os.read(source, CHUNK):
                    stream.write(chunk)
                    digest.update(chunk)
            else:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
            stream.flush()
            os.fchmod(stream.fileno(), 0o444)
    except OSError as error:
        raise _refused(target, error) from error
    return digest.hexdigest()


def _digest(source: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.read(source, CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _sizes(copy: Path) -> dict[str, int]:
    return {path.relative_to(copy).as_posix(): path.lstat().st_size for path in copy.rglob("*") if not path.is_dir()}


def _state(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be written: {error.strerror or error}")
