"""Ask one model a suite's rendered questions; lm-eval turns its answers into metrics."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance

from unlearn_guard.errors import NonFiniteError, ScoringError, UsageError, near
from unlearn_guard.records import Measurement, Sample, TaskScore
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.loading import BROKEN_TASK, quiet
from unlearn_guard.scoring.rendering import Item, Leaf, Rendered, RenderedTask, render

__all__ = ["evaluate", "render"]

Progress = Callable[[int, int], None]
"""Called with the number of requests answered and the number of all."""


def evaluate(
    rendered: Rendered,
    model: Any,
    tokenizer: Any,
    *,
    subject: str,
    precision: str,
    tasks: Sequence[str] | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> tuple[TaskScore, ...]:
    """A model's answers to every item of a suite's tasks (or of those named), with each task's metric.

    The same requests, token ids and batches serve every model and precision. `stderr` is that of the mean,
    None for a single item. `note` is told of contexts that the model was too short for. Raises ScoringError
    when answers are missing, of the wrong shape, or aggregate to anything but their mean; NonFiniteError
    when one is not a number.
    """
    chosen = _choose(rendered, tasks)
    total = sum(len(item.requests) for each in chosen for item in each.items)
    count = _Count(total, progress)
    tokens = rendered.tokens(tokenizer)
    scores = []
    for each in chosen:
        lm = GuardLM(model, tokens, batch_size=batch_size, precision=precision, progress=count.add)
        score = replace(_score(each, lm, subject, precision, rendered.seed), truncated=len(lm.truncated))
        scores.append(score)
        if lm.truncated and note is not None:
            note(
                f"{each.task.name} at {precision}: {len(lm.truncated)} items were longer than the {lm.max_length} "
                "tokens the model takes and lost their beginning"
            )
    return tuple(scores)


def _choose(rendered: Rendered, names: Sequence[str] | None) -> tuple[RenderedTask, ...]:
    if names is None:
        return rendered.tasks
    known = {each.task.name: each for each in rendered.tasks}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        hints = " ".join(near(name, known) for name in unknown)
        raise UsageError(
            f"suite {rendered.suite.name!r} has no task {', '.join(unknown) or 'in an empty list'}", fix=hints
        )
    return tuple(known[name] for name in dict.fromkeys(names))


class _Count:
    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _score(each: RenderedTask, lm: GuardLM, subject: str, precision: str, seed: int) -> TaskScore:
    samples = tuple(sample for leaf in each.leaves for sample in _answer(leaf, lm, precision, seed))
    ids = [sample.id for sample in samples]
    if ids != [item.id for item in each.items] or len(set(ids)) != len(ids):
        raise ScoringError(f"{each.task.name} at {precision}: the answers are not those of the items asked, one each")
    values = [sample.correct for sample in samples]
    measurement = Measurement(
        subject=subject,
        precision=precision,
        task=each.task.name,
        metric=each.task.metric,
        value=math.fsum(values) / len(values),
        samples=len(values),
        stderr=_stderr(values),
    )
    return TaskScore(task=each.task, subject=subject, precision=precision, samples=samples, measurement=measurement)


def _answer(leaf: Leaf, lm: GuardLM, precision: str, seed: int) -> tuple[Sample, ...]:
    """One sample an item, counted by lm-eval; its aggregate has to be their mean."""
    asked = [[replace(request, resps=[], filtered_resps={}) for request in item.requests] for item in leaf.items]
    flat = [request for requests in asked for request in requests]
    _ask(flat, lm, precision)
    # Counting may draw (a tie, a sample): the same draws for every model.
    with quiet(seed):
        _filter(leaf, flat)
        samples = tuple(_sample(leaf, item, each, precision) for item, each in zip(leaf.items, asked, strict=True))
    values = [sample.correct for sample in samples]
    aggregate = float(leaf.task.aggregation()[leaf.metric](values))
    if not math.isclose(aggregate, math.fsum(values) / len(values), rel_tol=1e-9, abs_tol=1e-12):
        raise ScoringError(
            f"{leaf.name} at {precision}: lm-eval aggregates {leaf.metric} to {aggregate}, "
            f"its items average {math.fsum(values) / len(values)}"
        )
    return samples


def _ask(requests: Sequence[Instance], lm: Any, precision: str) -> None:
    """Put each request to the model once; a greedy answer repeated is the same answer."""
    for kind in Counter(request.request_type for request in requests):
        group = [request for request in requests if request.request_type == kind]
        answers = list(getattr(lm, kind)(group))
        if len(answers) != len(group):
            name = group[0].task_name
            raise ScoringError(f"{name} at {precision}: {len(answers)} answers to {len(group)} {kind} requests")
        for request, answer in zip(group, answers, strict=True):
            request.resps.extend([answer] * (request.repeats or 1))


def _filter(leaf: Leaf, requests: list[Instance]) -> None:
    for each in leaf.task._filters:
        if each.name == leaf.filter:
            each.apply(requests)
    if any(leaf.filter not in request.filtered_resps for request in requests):
        raise ScoringError(f"{leaf.name}: filter {leaf.filter!r} lost answers")


def _sample(leaf: Leaf, item: Item, requests: Sequence[Instance], precision: str) -> Sample:
    where = f"item {item.id} at {precision}"
    # A task's code may write into the document; the next model is to see it as it was.
    document = copy.deepcopy(requests[0].doc)
    try:
        metrics = leaf.task.process_results(document, [request.filtered_resps[leaf.filter] for request in requests])
        value = metrics[leaf.metric]
    except BROKEN_TASK as error:
        raise ScoringError(f"{where}: the task could not count the answer: {type(error).__name__}: {error}") from error
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, bool | int | float):
        raise ScoringError(f"{where}: {leaf.metric} is a {type(value).__name__}; expected one number an item")
    if not math.isfinite(value):
        raise NonFiniteError(f"{where}: {leaf.metric} is {value}")
    likelihoods, text = _raw(requests, where)
    return Sample(
        id=item.id,
        prompt=item.prompt,
        target=item.target,
        correct=float(value),
        loglikelihoods=likelihoods,
        text=text,
    )


def _raw(requests: Sequence[Instance], where: str) -> tuple[tuple[float, ...] | None, str | None]:
    """What the model itself said: log-likelihoods by choice, or a text."""
    answers = [request.resps[0] for request in requests]
    if all(isinstance(answer, str) for answer in answers):
        return None, "\n".join(answers)
    likelihoods = tuple(float(answer[0] if isinstance(answer, tuple) else answer) for answer in answers)
    if any(math.isnan(value) or value == math.inf for value in likelihoods):
        raise NonFiniteError(f"{where}: log-likelihoods {likelihoods}")
    if all(value == -math.inf for value in likelihoods):
        raise NonFiniteError(f"{where}: every choice has probability zero, so none was chosen")
    return likelihoods, None


def _stderr(values: Iterable[float]) -> float | None:
    """Standard error of the mean with n - 1, as lm-eval's mean_stderr; None for one value."""
    values = list(values)
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
