"""Scores by model, precision and task, and the answers of several of them item by item."""

from collections.abc import Iterable, Sequence

import numpy as np

from unlearn_guard.errors import Defect, ScoringError
from unlearn_guard.judging.statistics import Floats
from unlearn_guard.records import Role, Sample, Task, TaskScore

_TOLERANCE = 1e-9
_SHOWN = 5


class Table:
    """The scores of a run by (subject, precision, task); refuses what cannot be compared.

    `subjects` are the digests a score may carry; empty means any.
    """

    def __init__(self, scores: Sequence[TaskScore], *, subjects: Sequence[str]) -> None:
        defects = [defect for score in scores for defect in _inconsistent(score)]
        self._scores: dict[tuple[str, str, str], TaskScore] = {}
        self._tasks: dict[str, Task] = {}
        for score in scores:
            key = (score.subject, score.precision, score.task.name)
            where = f"{score.measurement.name} of {score.subject}"
            if subjects and score.subject not in subjects:
                defects.append(Defect(where=where, found="a score of another model", expected="base or candidate"))
            if key in self._scores:
                defects.append(Defect(where=where, found="two scores", expected="one"))
            self._scores[key] = score
            if self._tasks.setdefault(score.task.name, score.task) != score.task:
                defects.append(
                    Defect(where=where, found="another rendering of the task", expected="one for all scores")
                )
        if defects:
            raise ScoringError("the scores of this run cannot be compared", defects)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in the order in which they were first scored."""
        return tuple(self._tasks.values())

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions, in the order in which they were first scored."""
        return tuple(dict.fromkeys(precision for _, precision, _ in self._scores))

    def get(self, subject: str, precision: str, task: str) -> TaskScore | None:
        """The one score, or None where nobody measured it."""
        return self._scores.get((subject, precision, task))


def answers(scores: Sequence[TaskScore]) -> Floats:
    """`[N, K]`: each item's share of the metric, item by item in the first score's order, one column a score.

    Raises ScoringError unless all K scores answer exactly the same items: same ids, prompts and targets.
    """
    first = scores[0]
    order = [sample.id for sample in first.samples]
    columns = []
    for score in scores:
        answered = {sample.id: sample for sample in score.samples}
        _same_items(first, score, answered)
        columns.append([answered[each].correct for each in order])
    return np.array(columns, dtype=np.float64).T


def _same_items(first: TaskScore, other: TaskScore, answered: dict[str, Sample]) -> None:
    expected = {sample.id: sample for sample in first.samples}
    both = expected.keys() & answered.keys()
    differences = (
        ("missing", expected.keys() - answered.keys()),
        ("not asked of the other", answered.keys() - expected.keys()),
        ("another prompt", {each for each in both if expected[each].prompt != answered[each].prompt}),
        ("another target", {each for each in both if expected[each].target != answered[each].target}),
    )
    defects = [_items(f"{other.measurement.name} of {other.subject}", kind, ids) for kind, ids in differences if ids]
    if defects:
        raise ScoringError(
            f"{first.task.name}: {other.precision} and {first.precision} did not answer the same items",
            defects,
            fix="Nothing is compared on part of the items. Measure both again from the same suite.",
        )


def _items(where: str, kind: str, ids: Iterable[str]) -> Defect:
    named = sorted(ids)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    found = f"{kind}: item {', '.join(named[:_SHOWN])}{more}"
    return Defect(where=where, found=found, expected="the same ids, prompts and targets")


def _inconsistent(score: TaskScore) -> list[Defect]:
    """What a score contradicts in itself: duplicate items, shares outside [0, 1], a mean that is not theirs."""
    measurement, task = score.measurement, score.task
    where = f"{measurement.name} of {score.subject}"
    defects = []
    ids = [sample.id for sample in score.samples]
    if twice := {each for each in ids if ids.count(each) > 1} if len(set(ids)) < len(ids) else set():
        defects.append(_items(where, "answered twice", twice))
    about = (measurement.subject, measurement.precision, measurement.task, measurement.metric, measurement.samples)
    if about != (score.subject, score.precision, task.name, task.metric, task.items):
        defects.append(Defect(where=where, found=f"a measurement of {about}", expected="the score's own"))
    shares = [sample.correct for sample in score.samples]
    if task.role is not Role.PROBE and not all(0.0 <= share <= 1.0 for share in shares):
        defects.append(Defect(where=where, found="a share outside [0, 1]", expected="fractions, never percent"))
    mean = float(np.mean(shares))
    if abs(mean - measurement.value) > _TOLERANCE:
        found = f"{task.metric} {measurement.value!r}, but the items' mean is {mean!r}"
        defects.append(Defect(where=where, found=found, expected="the mean over the items"))
    return defects
