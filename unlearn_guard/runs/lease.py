"""Who may write to a cell on an object store, where there are no locks.

Claims are numbered objects, `claim.000001` and on. One is created only where it is not there yet, so of several that
try for a number one has it; whoever has the highest number has the cell. The holder counts up in it every few seconds.
Whoever finds one that does not count, by his own clock, takes the next number. A number that was overtaken may not
write any more: that is looked at before anything is published.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from unlearn_guard.errors import StorageError, TakenError
from unlearn_guard.runs.bucket import Bucket

BEAT = 5.0
"""Seconds between two counts."""

PATIENCE = 6
"""Beats without a count after which a holder is taken for dead."""

_CLAIM = "claim."
_RELEASED = b"released"


@dataclass(kw_only=True)
class Lease:
    """One holder's claim on one cell. `assert_held` comes before anything is published."""

    bucket: Bucket
    below: str
    beat: float
    number: int = 0
    _who: str = field(default_factory=lambda: uuid.uuid4().hex)
    _stop: threading.Event = field(default_factory=threading.Event)

    def assert_held(self) -> None:
        """Raises TakenError where another took the cell because this holder seemed dead."""
        if self._highest() != self.number:
            raise TakenError(f"{self.bucket.url}/{self.below}: another process has taken this cell over")

    def _take(self) -> None:
        highest = self._highest()
        if highest and not self._left(highest):
            raise TakenError(f"{self.bucket.url}/{self.below}: another process has this cell")
        self.number = highest + 1
        if not self.bucket.create(self._name(self.number), self._says(0)):
            raise TakenError(f"{self.bucket.url}/{self.below}: another process has just taken this cell")
        if self.bucket.create(self._name(self.number), b"twice"):
            raise StorageError(
                f"{self.bucket.url} writes over an object that was to be created: two processes could have one cell",
                fix="Use a store that creates exclusively (S3, Google Cloud Storage), or a shared directory.",
            )

    def _left(self, number: int) -> bool:
        """Whether the holder of a number has released it, or does not count any more. Waits for that long."""
        first = self.bucket.read(self._name(number))
        deadline = time.monotonic() + PATIENCE * self.beat
        while first != _RELEASED and time.monotonic() < deadline:
            time.sleep(self.beat / 2)
            if self.bucket.read(self._name(number)) != first:
                return False
        return True

    def _count(self) -> None:
        beats = 0
        while not self._stop.wait(self.beat):
            beats += 1
            # A network that comes back in time costs nothing; else another takes over, and assert_held says so.
            with suppress(StorageError):
                self.bucket.write(self._name(self.number), self._says(beats))

    def _highest(self) -> int:
        names = self.bucket.names(self.below)
        numbers = [name.removeprefix(_CLAIM) for name in names if name.startswith(_CLAIM)]
        return max((int(each) for each in numbers if each.isdigit()), default=0)

    def _name(self, number: int) -> str:
        return f"{self.below}/{_CLAIM}{number:06}"

    def _says(self, beats: int) -> bytes:
        return f"{self._who} {beats}".encode()


@contextmanager
def lease(bucket: Bucket, below: str, *, beat: float | None = None) -> Iterator[Lease]:
    """Hold a cell of a bucket. Raises TakenError where another holds it, after waiting to see that it is alive."""
    held = Lease(bucket=bucket, below=below, beat=beat or BEAT)
    held._take()
    counting = threading.Thread(target=held._count, daemon=True)
    counting.start()
    try:
        yield held
    finally:
        held._stop.set()
        counting.join()
        bucket.write(held._name(held.number), _RELEASED)
