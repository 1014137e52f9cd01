"""Ask one model a suite's rendered questions; lm-eval turns its answers into metrics."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.instance import Instance

from unlearn_guard.errors import NonFiniteError, ScoringError, UsageError, near
from unlearn_guard.records import Measurement, Sample, TaskScore
from unlearn_guard.scoring.answers import Answers, assert_finite, nats_of
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.loading import BROKEN_TASK, quiet
from unlearn_guard.scoring.questions import Item, Leaf, Rendered, RenderedTask
from unlearn_guard.scoring.rendering import render

__all__ = ["Answered", "ask", "count", "evaluate", "render"]

Progress = Callable[[int, int], None]
"""Called with the number of requests answered and the number of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a model said to one task. `truncated` of the items were longer than the `length` tokens that it takes."""

    task: RenderedTask
    answers: Answers
    truncated: int
    length: int


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
    scores = []
    for said in ask(
        rendered, model, tokenizer, precision=precision, tasks=tasks, batch_size=batch_size, progress=progress
    ):
        score = count(said.task, said.answers, subject=subject, precision=precision, seed=rendered.seed)
        scores.append(replace(score, truncated=said.truncated))
        if said.truncated and note is not None:
            note(
                f"{score.task.name} at {precision}: {said.truncated} items were longer than the {said.length} "
                "tokens the model takes and lost their beginning"
            )
    return tuple(scores)


def ask(
    rendered: Rendered,
    model: Any,
    tokenizer: Any,
    *,
    precision: str,
    tasks: Sequence[str] | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Answered]:
    """What a model says to each task, before anything is counted. Raises as `evaluate` does."""
    if rendered.bare:
        raise ScoringError(f"{', '.join(rendered.bare)} were rendered without the tokenizer that their words need")
    chosen = _choose(rendered, tasks)
    told = _Count(sum(len(item.requests) for each in chosen for item in each.items), progress)
    tokens = rendered.tokens(tokenizer)
    for each in chosen:
        lm = GuardLM(model, tokens, batch_size=batch_size, precision=precision, progress=told.add)
        answers = tuple(said for leaf in each.leaves for said in _ask(leaf, lm, precision))
        yield Answered(task=each, answers=answers, truncated=len(lm.truncated), length=lm.max_length)


def count(each: RenderedTask, answers: Answers, *, subject: str, precision: str, seed: int) -> TaskScore:
    """The score that the task's own lm-eval code makes of answers, whether they were just given or stored.

    Raises ScoringError and NonFiniteError as `evaluate` does.
    """
    samples: list[Sample] = []
    for leaf in each.leaves:
        samples += _count(leaf, answers[len(samples) : len(samples) + len(leaf.items)], precision, seed)
    ids = [sample.id for sample in samples]
    if len(answers) != len(ids) or len(set(ids)) != len(ids):
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
    return TaskScore(
        task=each.task, subject=subject, precision=precision, samples=tuple(samples), measurement=measurement
    )


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


def _ask(leaf: Leaf, lm: Any, precision: str) -> Answers:
    """Put each request to the model once."""
    lm.each_token = leaf.each_token
    flat = [replace(request, resps=[], filtered_resps={}) for item in leaf.items for request in item.requests]
    answers: dict[int, Any] = {}
    for kind in Counter(request.request_type for request in flat):
        places = [place for place, request in enumerate(flat) if request.request_type == kind]
        said = list(getattr(lm, kind)([flat[place] for place in places]))
        if len(said) != len(places):
            raise ScoringError(f"{leaf.name} at {precision}: {len(said)} answers to {len(places)} {kind} requests")
        answers.update(zip(places, said, strict=True))
    left = iter(range(len(flat)))
    by_item = tuple(tuple(answers[next(left)] for _ in item.requests) for item in leaf.items)
    for item, each in zip(leaf.items, by_item, strict=True):
        assert_finite(each, f"item {item.id} at {precision}")
    return by_item


def _count(leaf: Leaf, answers: Answers, precision: str, seed: int) -> tuple[Sample, ...]:
    """One sample an item, counted by lm-eval; its aggregate has to be their mean."""
    asked = [
        [_answered(request, answer) for request, answer in zip(item.requests, said, strict=True)]
        for item, said in zip(leaf.items, answers, strict=True)
    ]
    # Counting may draw (a tie, a sample): the same draws for every model.
    with quiet(seed):
        _filter(leaf, [request for requests in asked for request in requests])
        samples = tuple(_sample(leaf, item, each, precision) for item, each in zip(leaf.items, asked, strict=True))
    values = [sample.correct for sample in samples]
    aggregate = float(leaf.task.aggregation()[leaf.metric](values))
    if not math.isclose(aggregate, math.fsum(values) / len(values), rel_tol=1e-9, abs_tol=1e-12):
        raise ScoringError(
            f"{leaf.name} at {precision}: lm-eval aggregates {leaf.metric} to {aggregate}, "
            f"its items average {math.fsum(values) / len(values)}"
        )
    return samples


def _answered(request: Instance, answer: Any) -> Instance:
    """A copy of the request with its answer; a greedy answer repeated is the same answer."""
    return replace(request, resps=[answer] * (request.repeats or 1), filtered_resps={})


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
    answers = [request.resps[0] for request in requests]
    written = all(isinstance(answer, str) for answer in answers)
    return Sample(
        id=item.id,
        prompt=item.prompt,
        target=item.target,
        correct=float(value),
        loglikelihoods=None if written else nats_of(answers),
        text="\n".join(answers) if written else None,
    )


def _stderr(values: Iterable[float]) -> float | None:
    """Standard error of the mean with n - 1, as lm-eval's mean_stderr; None for one value."""
    values = list(values)
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
