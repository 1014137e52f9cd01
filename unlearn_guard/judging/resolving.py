"""From rules to limits: what a policy names, held against what the suite and the quantizers produce."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from unlearn_guard.errors import Defect, PolicyError, near
from unlearn_guard.judging.draft import PolicyDraft, Rule
from unlearn_guard.judging.metrics import METRICS, Asks, Metric, guarded_by, score
from unlearn_guard.records import ALL, FORGET_QUALITY, MIA, MIA_REFERENCE, MODEL_UTILITY, SUITE, WEIGHTS, Limit, Role

_ROLES = {f"@{role}": role for role in Role}
_RESERVED = {Asks.WEIGHTS: WEIGHTS, Asks.SUITE: SUITE}
_MEASURE = {"forget_truth_ratio": FORGET_QUALITY, MIA_REFERENCE: MIA}
"""Metrics that come with another measure, by that measure."""


class TaskLike(Protocol):
    """What a limit needs to know of a task; `records.Task` has it."""

    @property
    def name(self) -> str:
        """lm-eval's name of the task."""

    @property
    def role(self) -> Role:
        """Forget, retain or probe."""

    @property
    def metric(self) -> str:
        """lm-eval's name of the score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRef:
    """A task as a suite names it, before its items are rendered."""

    name: str
    role: Role
    metric: str


def resolve_limits(draft: PolicyDraft, tasks: Sequence[TaskLike], precisions: tuple[str, ...]) -> tuple[Limit, ...]:
    """One limit for each metric, task and precision; PolicyError with every rule that names nothing."""
    defects: list[Defect] = []
    limits: dict[str, tuple[Limit, int]] = {}
    for precision in () if draft.precisions == (ALL,) else draft.precisions or ():
        if precision not in precisions:
            defects.append(_unknown(f"{draft.path}:1", "precision", precision, precisions))
    for index, rule in enumerate(draft.rules):
        found = _Rule(rule, draft.where(index), tasks, precisions)
        defects += found.defects()
        for limit in found.limits(draft.lines[index]):
            if limit.id in limits:
                defects.append(_duplicate(limit, draft.where(index), limits[limit.id][1]))
            limits.setdefault(limit.id, (limit, draft.lines[index]))
    if defects:
        raise PolicyError(f"{draft.path} does not fit this suite", list(dict.fromkeys(defects)))
    return tuple(limit for limit, _ in limits.values())


class _Rule:
    """A rule beside what exists."""

    def __init__(self, rule: Rule, where: str, tasks: Sequence[TaskLike], precisions: tuple[str, ...]) -> None:
        self.rule, self.where, self.tasks, self.precisions = rule, where, tasks, precisions
        scores = {task.metric for task in tasks}
        unbounded = any(task.name in self._names() and task.role is Role.PROBE for task in tasks)
        self.metric = METRICS.get(rule.metric) or (score(rule.metric, unbounded) if rule.metric in scores else None)
        self.known = {*METRICS, *scores}

    def defects(self) -> Iterator[Defect]:
        """Everything this rule names that nothing produces, and bounds outside the metric's range."""
        if self.metric is None:
            yield _unknown(self.where, "metric", self.rule.metric, self.known)
        else:
            yield from self._bounds(self.metric)
        yield from self._tasks()
        for precision in self.rule.precisions:
            if precision not in self.precisions:
                yield _unknown(self.where, "precision", precision, self.precisions)
            elif self.metric is not None and not self.metric.where.admits(precision):
                found = f"{self.metric.name} at {precision}"
                yield Defect(where=self.where, found=found, expected=f"{self.metric.name} at {self.metric.where}")

    def limits(self, line: int) -> Iterator[Limit]:
        """The limits of this rule, where it is sound."""
        if self.metric is None or any(True for _ in self.defects()):
            return
        for task in self._names():
            role = next((each.role for each in self.tasks if each.name == task), None)
            for precision in self.rule.precisions:
                yield Limit(
                    metric=self.metric.name,
                    task=task,
                    precision=precision,
                    at_least=self.rule.at_least,
                    at_most=self.rule.at_most,
                    confidence=self.rule.confidence,
                    because=self.rule.because.strip(),
                    guards=guarded_by(self.metric, precision, role),
                    line=line,
                )

    def _names(self) -> list[str]:
        """The task named, or of the role named those that can have the metric."""
        role, metric = _ROLES.get(self.rule.task), METRICS.get(self.rule.metric)
        if role is None:
            return [self.rule.task]
        return [task.name for task in self.tasks if task.role is role and (metric is None or _has(task, metric))]

    def _bounds(self, metric: Metric) -> Iterator[Defect]:
        for key, bound in (("at_least", self.rule.at_least), ("at_most", self.rule.at_most)):
            if bound is not None and not metric.low <= bound <= metric.high:
                percent = "It is a fraction, not percent." if abs(bound) > 1 and metric.high <= 10 else ""
                expected = f"{metric.low:g} to {metric.high:g} ({metric.unit})"
                yield Defect(where=self.where, found=f"{metric.name} {key} {bound:g}", expected=expected, fix=percent)

    def _tasks(self) -> Iterator[Defect]:
        name, metric = self.rule.task, self.metric
        reserved = _RESERVED.get(metric.asks) if metric is not None else None
        if reserved is not None or name in _RESERVED.values():
            if name != reserved and metric is not None:
                found = f"{self.rule.metric} of task {name!r}"
                expected = f"task: {reserved}" if reserved is not None else "a task of the suite"
                yield Defect(where=self.where, found=found, expected=expected)
            elif self.rule.metric == MODEL_UTILITY and not any(_measure(task) == MODEL_UTILITY for task in self.tasks):
                found = f"{self.rule.metric}, but no task of the suite says `measure: {MODEL_UTILITY}`"
                yield Defect(where=self.where, found=found, expected="a suite that measures it")
            return
        named = [task for task in self.tasks if task.name in self._names()]
        if not named and name in _ROLES:
            such = f" for {self.rule.metric}" if any(task.role is _ROLES[name] for task in self.tasks) else ""
            found = f"{name}, but the suite has no such task{such}"
            yield Defect(where=self.where, found=found, expected="a suite with one")
        elif not named:
            known = [*(task.name for task in self.tasks), *_ROLES]
            yield _unknown(self.where, "task", name, known)
        for task in named:
            yield from self._fits(task)

    def _fits(self, task: TaskLike) -> Iterator[Defect]:
        metric = self.metric
        if metric is None:
            return
        if not metric.asks.admits(task.role):
            found = f"{metric.name} of {task.name}, a {task.role} task"
            yield Defect(where=self.where, found=found, expected=f"{metric.name} of {metric.asks}")
        elif metric.asks is Asks.ANY and metric.name != task.metric:
            found = f"{metric.name} of {task.name}"
            yield Defect(where=self.where, found=found, expected=f"{task.metric}, the task's score")
        elif not _has(task, metric):
            found = f"{metric.name} of {task.name}, which is not one of them"
            yield Defect(where=self.where, found=found, expected=f"{metric.name} of {metric.asks}")
        elif metric.asks is Asks.PROBE and _measure(task) != _MEASURE.get(metric.name, metric.name):
            found = f"{metric.name} of {task.name}"
            yield Defect(where=self.where, found=found, expected=f"{_measure(task)}, which this probe feeds")


def _measure(task: TaskLike) -> str | None:
    return getattr(task, "measure", None)


def _has(task: TaskLike, metric: Metric) -> bool:
    """Whether a task is answered as the metric needs it; one that is not rendered yet may be."""
    needed = {Asks.LIKELIEST: "likeliest", Asks.WRITTEN: "written"}.get(metric.asks)
    return needed is None or bool(getattr(task, needed, True))


def _unknown(where: str, what: str, name: str, known: Sequence[str] | set[str]) -> Defect:
    return Defect(where=where, found=f"unknown {what} {name!r}", expected=f"a known {what}", fix=near(name, known))


def _duplicate(limit: Limit, where: str, first: int) -> Defect:
    found = f"a second limit {limit.id} (first in line {first})"
    return Defect(where=where, found=found, expected="one", fix="Write at_least and at_most in one entry.")
