"""What a user sees while a run measures: one bar for the steps, one for the questions of the present step."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bars:
    """Two bars on a terminal; elsewhere one plain line when a step begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._run = self._bars.add_task("check", total=None)
        self._step = self._bars.add_task("", total=None)
        self._begun = 0
        self._steps: int | None = None

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def plan(self, steps: int) -> None:
        """How many steps there will be."""
        self._steps = steps
        self._bars.update(self._run, total=steps)

    def begin(self, text: str) -> None:
        """The next step, in words."""
        self._begun += 1
        self._bars.update(self._run, completed=self._begun - 1)
        self._bars.reset(self._step, description=text, total=None)
        if not self._console.is_terminal:
            of = f"/{self._steps}" if self._steps else ""
            self._console.print(f"[{self._begun}{of}] {text}", markup=False, highlight=False)

    def advance(self, done: int, of: int) -> None:
        """How far the step is."""
        self._bars.update(self._step, completed=done, total=of)
