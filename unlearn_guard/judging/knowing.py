"""Does base know a task at all? A drop of what anybody could have guessed is not forgetting.

What a model scores without knowing is `chance` for a choice, but not for a text: words of the question and of the
language earn ROUGE and probability. It is a task's `floor`, or what the retrained model scores on the same items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_guard.judging import statistics
from unlearn_guard.judging.pairing import Table, answers
from unlearn_guard.judging.scored import with_error
from unlearn_guard.judging.statistics import Floats
from unlearn_guard.records import FULL, Measurement, Role, Task, TaskScore

KNOWS = 0.95
"""Base knows a task when its whole interval at this level lies above what is scored without knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesswork:
    """What a model that never learnt a task scores on it, a share in [0, 1), and whose word that is."""

    level: float
    source: str
    retrained: TaskScore | None = None

    def below(self, score: TaskScore, measured: Measurement, seed: int) -> bool:
        """Whether a score, with its error, is clearly more: paired item by item where a retrained model answered."""
        interval = measured.interval(KNOWS)
        if interval is None or interval.low <= (score.task.chance if self.retrained else self.level):
            return False
        if self.retrained is None:
            return True
        name = f"{score.subject} above {self.retrained.subject} {measured.name}"
        found = statistics.intervals(answers((self.retrained, score)), _more, seed=seed, name=name)
        return any(each.confidence == KNOWS and each.low > 0.0 for each in found)


def guesswork(table: Table, task: Task, retrained: str | None) -> Guesswork:
    """Of a forget task what the retrained model scores, where one was asked; else the task's floor, else chance."""
    asked = task.role is Role.FORGET and retrained is not None
    reference = table.get(str(retrained), FULL, task.name) if asked else None
    if reference is not None:
        level = max(task.chance, reference.measurement.value)
        return Guesswork(level=level, source="what the retrained model scores", retrained=reference)
    if task.floor is not None and task.floor > task.chance:
        return Guesswork(level=task.floor, source="what a model that never saw it scores")
    return Guesswork(level=task.chance, source="chance")


def unknown(scores: Sequence[TaskScore], *, base: str, seed: int, retrained: str | None = None) -> tuple[str, ...]:
    """One sentence for each task and precision that base does not know, so that nothing was derived from it."""
    table = Table(scores, subjects=())
    return tuple(
        f"base does not know {each.task.name} at {each.precision}: {measured.metric} {measured.value:.3f} is not "
        f"clearly above {without.source} ({without.level:.3f}, {measured.samples} items), so nothing is derived from it"
        for each in scores
        if each.subject == base and each.task.role is not Role.PROBE
        for measured, without in [(with_error(each, seed), guesswork(table, each.task, retrained))]
        if not without.below(each, measured, seed)
    )


def known(scores: Sequence[TaskScore], *, base: str, seed: int, retrained: str | None = None) -> tuple[str, ...]:
    """The forget tasks that base knows in full precision: of no other a drop or a gap is derived."""
    table = Table(scores, subjects=())
    asked = [s for s in scores if s.subject == base and s.precision == FULL and s.task.role is Role.FORGET]
    return tuple(
        each.task.name
        for each in asked
        if guesswork(table, each.task, retrained).below(each, with_error(each, seed), seed)
    )


def _more(means: Floats) -> Floats:
    return means[..., 1] - means[..., 0]
