"""What a user sees while a run measures: one bar for the steps, one for the questions of the present step."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from unlearn_guard.reports import wording


class _Live:
    """Bars on a terminal, drawn while it is open and gone afterwards; elsewhere plain lines.

    `label` stands before each bar, `beside` it what else its tasks have.
    """

    def __init__(self, console: Console, label: TextColumn, *beside: ProgressColumn) -> None:
        self._console = console
        self._bars = Progress(
            label,
            BarColumn(bar_width=14),
            MofNCompleteColumn(),
            *beside,
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            # Else what a library prints is caught above the descriptors, which lead to a log, and drawn over the bars.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def _say(self, text: str) -> None:
        """A line, where there are no bars."""
        if not self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False)


_TOLD_EVERY = 30.0
"""Seconds between two plain lines about one step."""


class Bars(_Live):
    """Two bars on a terminal; elsewhere a plain line when a step begins, and one every half minute while it lasts."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, TextColumn("{task.description:<34}"))
        self._run = self._bars.add_task("check", total=None)
        self._step = self._bars.add_task("", total=None)
        self._begun = 0
        self._steps: int | None = None
        self._text = ""
        self._clock = clock
        self._start = self._step_start = self._told = clock()

    def plan(self, steps: int) -> None:
        """How many steps there will be."""
        self._steps = steps
        self._bars.update(self._run, total=steps)

    def begin(self, text: str) -> None:
        """The next step, in words."""
        self._begun += 1
        self._bars.update(self._run, completed=self._begun - 1)
        self._bars.reset(self._step, description=text, total=None)
        self._text = text
        self._step_start = self._told = self._clock()
        self._tell("")

    def advance(self, done: int, of: int) -> None:
        """How far the step is."""
        self._bars.update(self._step, completed=done, total=of)
        now = self._clock()
        if 0 < done < of and now - self._told >= _TOLD_EVERY:
            self._told = now
            left = (now - self._step_start) * (of - done) / done
            self._tell(f": {done} of {of}, about {_clocked(left)} left")

    def hint(self, text: str) -> None:
        """A line that stays in view."""
        self._console.print(f"hint: {wording.plain(text)}", markup=False, highlight=False, style="bold")

    def _tell(self, more: str) -> None:
        """`[3/14 0:42] score base at nf4`: which step of how many, after what time."""
        of = f"/{self._steps}" if self._steps else ""
        self._say(f"[{self._begun}{of} {_clocked(self._clock() - self._start)}] {self._text}{more}")


def _clocked(seconds: float) -> str:
    """`0:42`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class TrainingBar(_Live):
    """One bar with the losses beside it on a terminal; elsewhere a plain line at the beginning and every tenth."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TextColumn("{task.description:<24}"), TextColumn("{task.fields[losses]}"))
        self._task = self._bars.add_task("", total=None, losses="")
        self._losses = ""
        self._told = 0

    def begin(self, text: str) -> None:
        """What begins, in words."""
        self._told, self._losses = 0, ""
        self._bars.reset(self._task, description=text, total=None, losses="")
        self._say(text)

    def losses(self, forget: float, retain: float | None) -> None:
        """The losses of the step that has just been taken, in nats."""
        self._losses = f"forget {forget:.3f}" + ("" if retain is None else f", retain {retain:.3f}")

    def advance(self, done: int, of: int) -> None:
        """How far it is."""
        self._bars.update(self._task, completed=done, total=of, losses=self._losses)
        if 10 * done // of > self._told:
            self._told = 10 * done // of
            self._say(f"{done}/{of} {self._losses}".rstrip())


class CellBars(_Live):
    """A bar for all cells and a line for each that is being measured; what has ended stays in view above them."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TextColumn("{task.description}", markup=False))
        self._all = self._bars.add_task("cells", total=None)
        self._running: dict[str, TaskID] = {}
        self._done = 0
        self._total = 0

    def begin(self, total: int, done: int) -> None:
        """How many cells there are, and how many were measured before."""
        self._total, self._done = total, done
        self._bars.update(self._all, total=total, completed=done)
        self._print(f"{total} cells, {done} measured before")

    def started(self, name: str) -> None:
        """A cell's process has started."""
        self._running[name] = self._bars.add_task(wording.short(name, 60), total=None)

    def stage(self, name: str, text: str, done: int | None, of: int | None) -> None:
        """What it is at."""
        if text:
            shown = f"{wording.short(name, 60)}: {wording.short(text, 40)}"
            self._bars.reset(self._running[name], description=shown, total=None)
        if done is not None:
            self._bars.update(self._running[name], completed=done, total=of)

    def ended(self, name: str, outcome: str, finished: bool) -> None:
        """The cell's result in words; not `finished` where it was put off."""
        if name in self._running:
            self._bars.remove_task(self._running.pop(name))
        self._done += finished
        self._bars.update(self._all, completed=self._done)
        if finished:
            self._print(f"[{self._done}/{self._total}] {wording.short(name)}: {wording.short(outcome, 300)}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)
