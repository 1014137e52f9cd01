"""Who is told what goes on, and what each stage took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from unlearn_guard.environment import peak_bytes
from unlearn_guard.processes.interruption import heed
from unlearn_guard.records import FULL, Stage


class Progress(Protocol):
    """Who is told what goes on. `begin` starts the next of the planned steps, `advance` counts inside it."""

    def plan(self, steps: int) -> None:
        """How many steps there will be."""

    def begin(self, text: str) -> None:
        """The next step, in words."""

    def advance(self, done: int, of: int) -> None:
        """How far the step is."""

    def hint(self, text: str) -> None:
        """What the user may want to know before it begins."""


class Silent:
    """Tells nobody."""

    def plan(self, steps: int) -> None:
        """Nothing."""

    def begin(self, text: str) -> None:
        """Nothing."""

    def advance(self, done: int, of: int) -> None:
        """Nothing."""

    def hint(self, text: str) -> None:
        """Nothing."""


@dataclass(kw_only=True)
class Stopwatch:
    """The stages of a run as they end, with what each took."""

    progress: Progress
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, precision: str = FULL) -> Iterator[Callable[[], None]]:
        """Time one stage; call what is yielded when an earlier run had done it."""
        heed()
        self.progress.begin(name if precision == FULL else f"{name} at {precision}")
        begin, cached = time.monotonic(), False

        def reuse() -> None:
            nonlocal cached
            cached = True

        yield reuse
        heed()
        seconds = time.monotonic() - begin
        self.stages.append(
            Stage(name=name, precision=precision, seconds=seconds, cached=cached, peak_bytes=peak_bytes())
        )

    def advance(self, done: int, of: int) -> None:
        """How far the stage is; an interrupt that a library swallowed ends it here."""
        heed()
        self.progress.advance(done, of)
