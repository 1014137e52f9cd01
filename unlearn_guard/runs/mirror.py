"""A comparison whose results lie in a bucket: what a directory of this machine holds of it, and how the two meet.

`cells/NAME/run/` goes up file by file and `cells/NAME/cell.json` last: it names run.json by digest, and is what makes
a cell finished. Candidates are large, and stay where they were made.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from unlearn_guard.errors import RunDirectoryError, TakenError
from unlearn_guard.processes.half_made import making
from unlearn_guard.runs import cell_file
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.bucket import Bucket, open_bucket
from unlearn_guard.runs.claim import claim
from unlearn_guard.runs.lease import Lease, lease
from unlearn_guard.runs.store import default_root

CELLS = "cells"


def mirror_of(url: str) -> Path:
    """The directory of this machine that stands for a URL, below the store's root."""
    return default_root() / "compared" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


@contextmanager
def published(url: str | None, folder: Path, asked: str) -> Iterator[Callable[[], None]]:
    """Hold a cell's place in the bucket while it is measured; what is yielded puts up what the folder holds then.

    A cell that is finished in the bucket, as `asked`, is fetched and not held. Without a URL there is nothing to do.
    Raises TakenError where another process has the cell, or took it over before the results were up.
    """
    if url is None:
        yield lambda: None
        return
    bucket = open_bucket(url)
    if _fetch(bucket, folder, asked):
        yield lambda: None
        return
    with lease(bucket, _below(folder)) as held:
        finished = _fetch(bucket, folder, asked)  # perhaps while we waited to see whether its holder was alive
        yield (lambda: None) if finished else (lambda: _publish(bucket, folder, held))


def meet(url: str, cells: Mapping[Path, str]) -> None:
    """Fetch what is finished in the bucket, and put up what was finished here by a process that then died.

    `cells` are folders and the digest of how each is to be checked. A cell that a process here is at is left alone.
    """
    bucket = open_bucket(url)
    for folder, asked in cells.items():
        if not folder.exists() and bucket.read(f"{_below(folder)}/{cell_file.NAME}") is None:
            continue
        with suppress(TakenError), claim(folder):
            if not _fetch(bucket, folder, asked) and _finished(folder, asked):
                with lease(bucket, _below(folder)) as held:
                    _publish(bucket, folder, held)


def fetch_all(url: str) -> list[Path]:
    """The folders here of the bucket's cells, each fetched; none that the bucket does not have.

    Raises RunDirectoryError where it has none.
    """
    bucket, root = open_bucket(url), mirror_of(url) / CELLS
    names = [name.split("/")[0] for name in bucket.names(CELLS) if name.endswith(f"/{cell_file.NAME}")]
    if not names:
        raise RunDirectoryError(f"{url}: there is no cell here", fix="Give what `compare --out` was given.")
    for name in names:
        with claim(root / name):
            _fetch(bucket, root / name, None)
    return [root / name for name in names]


def publish_folder(url: str, folder: Path) -> None:
    """Put up a directory that has no cells, such as the leaderboard, under its own name."""
    open_bucket(url).upload(folder, folder.name)


def _below(folder: Path) -> str:
    return f"{CELLS}/{folder.name}"


def _finished(folder: Path, asked: str | None) -> bool:
    """Whether the cell was measured in this way; None: in any."""
    if not (folder / cell_file.NAME).exists():
        return False
    cell = cell_file.read_cell(folder)
    return cell.state == cell_file.MEASURED and asked in (None, cell.asked)


def _fetch(bucket: Bucket, folder: Path, asked: str | None) -> bool:
    """Bring a cell here; True where it is finished in the bucket, in the way that is asked for (None: in any).

    What is finished here in that way, and there not, is never replaced.
    """
    data = bucket.read(f"{_below(folder)}/{cell_file.NAME}")
    if data is None:
        return False
    with making(folder.parents[2]) as fetched:
        write_bytes(fetched / cell_file.NAME, data)
        cell = cell_file.read_cell(fetched)
        if not _finished(fetched, asked):
            if cell.state != cell_file.MEASURED and not _finished(folder, asked):
                write_bytes(folder / cell_file.NAME, data)
            return False
        here = folder / cell_file.NAME
        if here.exists() and here.read_bytes() == data:
            return True
        bucket.download(f"{_below(folder)}/{cell_file.RUN}", fetched / cell_file.RUN)
        fix = "Remove the cell's objects to have it measured again."
        cell_file.assert_run(fetched, cell, shown=f"{bucket.url}/{_below(folder)}", fix=fix)
        shutil.rmtree(folder / cell_file.RUN, ignore_errors=True)
        (fetched / cell_file.RUN).rename(folder / cell_file.RUN)
    write_bytes(folder / cell_file.NAME, data)
    return True


def _publish(bucket: Bucket, folder: Path, held: Lease) -> None:
    cell = cell_file.read_cell(folder)
    held.assert_held()
    if cell.state == cell_file.MEASURED:
        bucket.upload(folder / cell_file.RUN, f"{_below(folder)}/{cell_file.RUN}")
        held.assert_held()
    bucket.write(f"{_below(folder)}/{cell_file.NAME}", (folder / cell_file.NAME).read_bytes())
