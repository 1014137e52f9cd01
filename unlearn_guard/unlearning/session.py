"""Who is told how a method gets on, and where it may leave what it needs to go on after a kill.

A method's protocol has no room for either, and most have no use for them: the training loop asks for the session that
is open. Without one, nobody is told and nothing is kept.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from unlearn_guard.errors import StorageError


class Listener(Protocol):
    """Who is told. The losses are in nats; a method without a retain term has none to tell."""

    def begin(self, text: str) -> None:
        """What begins, in words."""

    def advance(self, done: int, of: int) -> None:
        """How far it is."""

    def losses(self, forget: float, retain: float | None) -> None:
        """The losses of the step that has just been taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of the loss curve: forget and retain loss in nats, before the step."""

    step: int
    forget: float
    retain: float | None


@dataclass(kw_only=True)
class Session:
    """One run of one method: its listener, its loss curve, and its folder of saved states.

    `fingerprint` says what the states belong to; one of anything else is not resumed.
    """

    listener: Listener | None = None
    folder: Path | None = None
    fingerprint: str = ""
    save_seconds: float = 120.0
    curve: list[Point] = field(default_factory=list)
    _trainings: int = 0
    _saved: float = field(default_factory=time.monotonic)

    def begin(self, text: str) -> None:
        """What begins, in words."""
        if self.listener is not None:
            self.listener.begin(text)

    def advance(self, done: int, of: int) -> None:
        """How far it is."""
        if self.listener is not None:
            self.listener.advance(done, of)

    def record(self, point: Point) -> None:
        """Append to the loss curve, and tell."""
        self.curve.append(point)
        if self.listener is not None:
            self.listener.losses(point.forget, point.retain)

    def training(self) -> str:
        """A name for the next training of this method: the first is `training-1`."""
        self._trainings += 1
        return f"training-{self._trainings}"

    def due(self) -> bool:
        """True when the last save is long enough ago."""
        return self.folder is not None and time.monotonic() - self._saved >= self.save_seconds

    def save(self, name: str, step: int, state: dict[str, Tensor]) -> None:
        """Keep a training's state; whole or not at all. Raises StorageError."""
        if self.folder is None:
            return
        header = {
            "fingerprint": self.fingerprint,
            "step": str(step),
            "curve": json.dumps([_row(p) for p in self.curve]),
        }
        part = self.folder / f".{name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({key: value.contiguous() for key, value in state.items()}, part, metadata=header)
            part.replace(self.folder / f"{name}.safetensors")
        except OSError as error:
            raise StorageError(f"the training's state could not be saved: {error}") from error
        self._saved = time.monotonic()

    def load(self, name: str) -> tuple[int, dict[str, Tensor]] | None:
        """The step and state that were saved under this name by the same run, or None."""
        path = self.folder / f"{name}.safetensors" if self.folder is not None else None
        if path is None or not path.is_file():
            return None
        with safe_open(path, framework="pt") as held:
            header = held.metadata()
            if header["fingerprint"] != self.fingerprint:
                return None
            self.curve = [Point(step=s, forget=f, retain=r) for s, f, r in json.loads(header["curve"])]
            return int(header["step"]), {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118 - no mapping


def _row(point: Point) -> tuple[int, float, float | None]:
    return point.step, point.forget, point.retain


_OPEN: ContextVar[Session | None] = ContextVar("session", default=None)


def current() -> Session:
    """The session that is open, or one that keeps and tells nothing."""
    return _OPEN.get() or Session()


@contextmanager
def opened(session: Session) -> Iterator[Session]:
    """Make this the session that methods report to."""
    token = _OPEN.set(session)
    try:
        yield session
    finally:
        _OPEN.reset(token)
