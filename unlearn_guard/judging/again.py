"""A run's measurements derived anew from its answers, and held against those that were written down.

Values in, values out. What takes long are intervals: they are drawn anew where a limit reads them and where they cost
little, and are otherwise taken as written, which the caller is told.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from unlearn_guard.judging.derive import derive, dtype_gap
from unlearn_guard.judging.knowing import known
from unlearn_guard.records import Interval, Measurement, Role, Run, Sample, Task, TaskScore

TRUNCATED = "truncated"
"""Derived from how an item was asked, not from its answer: no answers give it again."""

MANY = 150
"""Of so many measurements only the intervals that a limit reads are drawn anew."""

EXACT = frozenset(
    {"retain_drop", "forget_drop", "above_chance_removed", "ptq_gap", "recovery", "dtype_gap", "paraphrase_recovery"}
)
"""Worked out in fractions, so that a limit's edge is met or missed by the answers and by nothing else."""

_CLOSE = 1e-9

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What the answers give: `measurements`, and the names of those whose intervals were `taken` as written."""

    measurements: tuple[Measurement, ...]
    taken: tuple[str, ...]


def key(measurement: Measurement) -> Key:
    """What a measurement is of; a run has one of each."""
    return measurement.subject, measurement.metric, measurement.task, measurement.precision


def score_of(task: Task, subject: str, precision: str, samples: tuple[Sample, ...]) -> TaskScore:
    """The score that these answers are.

    Raises ValueError where they are not as many as the task has items, or one is counted otherwise than its
    likelihoods say.
    """
    if task.likeliest:
        _assert_counted(samples)
    shares = [sample.correct for sample in samples]
    mean = math.fsum(shares) / len(shares) if shares else 0.0
    spread = math.fsum((share - mean) ** 2 for share in shares)
    measurement = Measurement(
        subject=subject,
        precision=precision,
        task=task.name,
        metric=task.metric,
        value=mean,
        samples=task.items,
        stderr=math.sqrt(spread / (len(shares) - 1) / len(shares)) if len(shares) > 1 else None,
    )
    return TaskScore(task=task, subject=subject, precision=precision, samples=samples, measurement=measurement)


def _assert_counted(samples: tuple[Sample, ...]) -> None:
    for sample in samples:
        nats, target = sample.loglikelihoods, sample.target
        if nats is None or not target.isdecimal() or int(target) >= len(nats):
            raise ValueError(f"item {sample.id} has no likelihood of choice {target}")
        if sample.correct != float(nats.index(max(nats)) == int(target)):
            raise ValueError(f"item {sample.id} is counted {sample.correct:g}, its likelihoods say otherwise")


def from_answers(
    run: Run,
    scores: Sequence[TaskScore],
    elsewhere: Mapping[tuple[str, str], Sequence[TaskScore]],
    *,
    read: Collection[tuple[str, str]],
) -> Again:
    """Everything that answers give. `elsewhere` are those in other dtypes, by task and precision.

    `read` are the metrics and precisions whose intervals some limit asks for. Raises ScoringError where the answers
    contradict each other.
    """
    base, candidate, seed = run.base.digest, run.candidate.digest, run.environment.seed
    given = _given(run, scores, read)
    retrained = run.retrained.digest if run.retrained is not None else None
    found = derive(scores, base=base, candidate=candidate, seed=seed, retrained=retrained, given=given)
    own = {(score.task.name, score.precision): score for score in scores if score.subject == candidate}
    knows = known(scores, base=base, seed=seed, retrained=retrained) if elsewhere else ()
    recorded = {key(each): each for each in run.measurements}
    gaps = [
        _gap(own[where], others, seed, recorded.get((candidate, "dtype_gap", *where)))
        for where, others in elsewhere.items()
        if where[0] in knows and where in own
    ]
    taken = sorted({name.partition(" ")[2] for name in given if given[name]})
    return Again(measurements=tuple(each for each in (*found, *gaps) if each.metric != TRUNCATED), taken=tuple(taken))


def _given(run: Run, scores: Sequence[TaskScore], read: Collection[tuple[str, str]]) -> dict[str, tuple[Interval, ...]]:
    """The intervals that are not drawn anew. Base's own always are: they decide what is derived at all."""
    dear = {
        score.task.name
        for score in scores
        if score.task.role is Role.PROBE or any(sample.correct not in (0.0, 1.0) for sample in score.samples)
    }
    many = len(run.measurements) > MANY
    own = {task.name: task.metric for task in run.tasks}
    return {
        f"{each.subject} {each.name}": each.intervals
        for each in run.measurements
        if (many or each.task in dear)
        and (each.metric, each.precision) not in read
        and not (each.subject == run.base.digest and each.metric == own.get(each.task))
    }


def _gap(own: TaskScore, others: Sequence[TaskScore], seed: int, recorded: Measurement | None) -> Measurement:
    """`dtype_gap`; where two dtypes gain the same, error and p are those of the one that had been asked first."""
    first = dtype_gap(own, others, seed=seed)
    if recorded is None or not any(differences(recorded, first)):
        return first
    turned = (dtype_gap(own, [*others[at:], *others[:at]], seed=seed) for at in range(1, len(others)))
    return next((each for each in turned if not any(differences(recorded, each))), first)


def differences(recorded: Measurement, derived: Measurement) -> Iterator[tuple[str, str, str]]:
    """(field, what is written, what is derived) for each field that differs.

    A value that is rounded once must be the same number; others, errors and intervals may differ in the last digits,
    which depend on the machine.
    """
    same: Callable[[float | None, float | None], bool] = _same if recorded.metric in EXACT else _close
    if not same(recorded.value, derived.value):
        yield "value", repr(recorded.value), repr(derived.value)
    if recorded.samples != derived.samples:
        yield "samples", repr(recorded.samples), repr(derived.samples)
    if not _close(recorded.stderr, derived.stderr):
        yield "stderr", repr(recorded.stderr), repr(derived.stderr)
    if not _close(recorded.p_value, derived.p_value):
        yield "p_value", repr(recorded.p_value), repr(derived.p_value)
    written, made = (_bounds(each.intervals) for each in (recorded, derived))
    if len(written) != len(made) or not all(map(_close, written, made)):
        yield "intervals", str(list(written)), str(list(made))


def _bounds(intervals: Sequence[Interval]) -> tuple[float, ...]:
    return tuple(chain.from_iterable((each.confidence, each.low, each.high) for each in intervals))


def _same(one: float | None, other: float | None) -> bool:
    return one == other


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)
