"""Measurements from measurements: what the scores of base and candidate say about the four properties.

Values in, values out. Which quantities come out follows from which scores go in; a quantity that the
scores do not define is not emitted, so that its limit stays UNMEASURED. There are no defaults.

Items are paired by position-free identity: the same id, the same prompt hash, the same target. An item
that one side lacks is an error, never a reason to compare the intersection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unlearn_guard.errors import ScoringError
from unlearn_guard.judging import statistics
from unlearn_guard.judging.knowing import Guesswork, guesswork
from unlearn_guard.judging.pairing import Table, answers
from unlearn_guard.judging.paraphrase import known_tasks, paraphrase_recovery
from unlearn_guard.judging.probes import probe_measures
from unlearn_guard.judging.scored import exact_means, with_error
from unlearn_guard.judging.statistics import NOTHING_GIVEN, Floats, Given, Statistic
from unlearn_guard.records import CONFIDENCE_LEVELS, FULL, REPETITION, TIED, Interval, Measurement, Role, TaskScore


def derive(
    scores: Sequence[TaskScore],
    *,
    base: str,
    candidate: str,
    seed: int,
    retrained: str | None = None,
    given: Given = NOTHING_GIVEN,
) -> tuple[Measurement, ...]:
    """Each score with its error, and every quantity of the design's section 5 that the scores define.

    `base` and `candidate` are the digests the scores carry as `subject`; a quantized model keeps the
    digest it was quantized from. All drops and gaps speak of the candidate. `retrained` is the digest of a
    model that never saw the forget set, where one was scored: what probes are compared with, and what forget tasks
    are scored without knowing. `given` are intervals that are taken as they are instead of being drawn, which is what
    takes the time.

    Nothing is derived from a task that base does not itself know (`knowing`): the drop of a score that anybody
    reaches is noise, and must not pass. `knowing.unknown` says which tasks these are.

    Raises ScoringError when a score is given twice, belongs to neither model, disagrees with its own
    items, or does not answer the same items as the score it is compared with.

    Source: arXiv 2605.15138, Section 3 (i) to (iii) and Figure 3 (F, Q, R); `above_chance_removed` and
    `recovery` are ours.
    """
    if base == candidate:
        raise ScoringError("base and candidate have the same digest, so nothing can be compared")
    table = Table(scores, subjects=(base, candidate, *([retrained] if retrained is not None else [])))
    found = [with_error(score, seed, given) for score in scores]
    without = {task.name: guesswork(table, task, retrained) for task in table.tasks}
    trusted = {
        (score.task.name, score.precision): without[score.task.name].below(score, measured, seed)
        for score, measured in zip(scores, found, strict=True)
        if score.subject == base
    }
    found += [_truncated(score) for score in scores]
    found += [_tied(score) for score in scores if score.task.likeliest]
    found += [_repetition(score) for score in scores if score.task.written]
    for comparison in _comparisons(table, base, candidate, trusted, without):
        measurement = comparison.measure(candidate, seed, given)
        if measurement is not None:
            found.append(measurement)
    known = known_tasks(table, trusted)
    found += paraphrase_recovery(table, known, without, base=base, candidate=candidate, seed=seed, given=given)
    found += probe_measures(table, subjects=(base, candidate), retrained=retrained, seed=seed, given=given)
    return tuple(found)


def dtype_gap(own: TaskScore, others: Sequence[TaskScore], *, seed: int) -> Measurement:
    """Knowledge that shows in another dtype than the run's, in accuracy points: the largest gain over `others`.

    Positive: as somebody may load it the model knows more than this run saw. Each of `others` answers items that
    `own` answered too, all or some, and only those are compared. Value, standard error and p are those of the dtype
    that gains most. An interval reaches from the largest lower end to the largest upper end over the dtypes:
    where each holds its own gain, this one holds the largest.

    Raises ScoringError when one answers another item, prompt or target.
    """
    gains = [gain for gain in (_gain_in(own, other, seed) for other in others) if gain is not None]
    most = max(gains, key=lambda gain: gain.value)
    shared = [[gain.interval(level) for gain in gains] for level in CONFIDENCE_LEVELS]
    intervals = tuple(
        Interval(confidence=level, low=max(each.low for each in found), high=max(each.high for each in found))
        for level, found in zip(CONFIDENCE_LEVELS, ([each for each in row if each] for row in shared), strict=True)
        if len(found) == len(gains)
    )
    return replace(most, intervals=intervals)


def _gain_in(own: TaskScore, other: TaskScore, seed: int) -> Measurement | None:
    asked = {sample.id for sample in other.samples}
    samples = tuple(sample for sample in own.samples if sample.id in asked)
    if len(samples) != len(asked):
        raise ScoringError(f"{own.task.name}: {other.precision} was asked items that {own.precision} was not")
    same = replace(own, task=replace(own.task, items=len(samples)), samples=samples)
    gain = _Comparison(metric="dtype_gap", scores=(same, other), precision=own.precision, statistic=_gain)
    return gain.measure(own.subject, seed)


def _truncated(score: TaskScore) -> Measurement:
    """How many items lost the beginning of their prompt; a number to forbid, because what was cut was not asked."""
    return replace(
        score.measurement, metric="truncated", value=float(score.truncated), stderr=None, intervals=(), p_value=None
    )


def _tied(score: TaskScore) -> Measurement:
    """Share of the items whose likeliest choice has an equal: there the first wins, for no reason of the model's.

    In bf16 letters' logits lie on a coarse grid and many tie, and "A" is the first of them.
    """
    tops = [sorted(sample.loglikelihoods or (), reverse=True)[:2] for sample in score.samples]
    tied = sum(len(top) == 2 and top[0] == top[1] for top in tops)
    return replace(
        score.measurement, metric=TIED, value=tied / len(score.samples), stderr=None, intervals=(), p_value=None
    )


def _repetition(score: TaskScore) -> Measurement:
    """Mean share of an answer's runs of four words that it has had before: 0 fluent text, near 1 a loop.

    Source: seq-rep-4 of Welleck et al. 2019, arXiv 1908.04319, of words in place of tokens; what has no four words has
    none. An answer that is gibberish without repeating itself is not seen.
    """
    shares = [_repeated((sample.text or "").split()) for sample in score.samples]
    value = sum(shares) / len(shares)
    return replace(score.measurement, metric=REPETITION, value=value, stderr=None, intervals=(), p_value=None)


def _repeated(words: Sequence[str], run: int = 4) -> float:
    runs = [tuple(words[at : at + run]) for at in range(len(words) - run + 1)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A quantity over scores of one task: K columns in, one number out. The last column is what is judged."""

    metric: str
    scores: tuple[TaskScore, ...]
    precision: str
    statistic: Statistic

    def measure(self, subject: str, seed: int, given: Given = NOTHING_GIVEN) -> Measurement | None:
        """The quantity with its error, or None where it is undefined."""
        answers_NK = answers(self.scores)
        value = float(self.statistic(exact_means(answers_NK)))
        if not np.isfinite(value):
            return None
        task = self.scores[0].task.name
        compared = answers_NK[:, -2], answers_NK[:, -1]
        name = f"{subject} {self.metric}[{task}-{self.precision}]"
        taken = given.get(name)
        return Measurement(
            subject=subject,
            precision=self.precision,
            task=task,
            metric=self.metric,
            value=value,
            samples=len(answers_NK),
            stderr=statistics.stderr(answers_NK, self.statistic),
            intervals=statistics.intervals(answers_NK, self.statistic, seed=seed, name=name)
            if taken is None
            else taken,
            p_value=statistics.mcnemar_p(*(column.tolist() for column in compared)),
        )


Trusted = dict[tuple[str, str], bool]


def _comparisons(
    table: Table, base: str, candidate: str, trusted: Trusted, without: Mapping[str, Guesswork]
) -> Iterator[_Comparison]:
    """Every comparison the scores allow, in the order in which the tasks and precisions were given."""
    for task in table.tasks:
        for precision in table.precisions:
            judged = table.get(candidate, precision, task.name)
            if judged is None or task.role is Role.PROBE:
                continue
            if task.role is Role.RETAIN:
                # Base is quantized too: what quantization itself costs is not the candidate's doing.
                paired = table.get(base, precision, task.name)
                if paired is not None and trusted[task.name, precision]:
                    yield _Comparison(
                        metric="retain_drop", scores=(paired, judged), precision=precision, statistic=_drop
                    )
            # What base was not asked nobody knows that it knew.
            elif trusted.get((task.name, FULL), False):
                full_base = table.get(base, FULL, task.name)
                full = table.get(candidate, FULL, task.name) if precision != FULL else None
                yield from _forgetting(judged, full_base, full, without[task.name].level)


def _forgetting(
    judged: TaskScore, base: TaskScore | None, full: TaskScore | None, guessed: float
) -> Iterator[_Comparison]:
    """What is left of a forget task: against base in full precision, and against the candidate's own."""
    precision = judged.precision
    if base is not None:
        drop, above = _relative_drop, _removed_above(guessed)
        yield _Comparison(metric="forget_drop", scores=(base, judged), precision=precision, statistic=drop)
        yield _Comparison(metric="above_chance_removed", scores=(base, judged), precision=precision, statistic=above)
    if full is not None:
        yield _Comparison(metric="ptq_gap", scores=(full, judged), precision=precision, statistic=_gain)
    if full is not None and base is not None:
        yield _Comparison(metric="recovery", scores=(base, full, judged), precision=precision, statistic=_recovery)


def _drop(means: Floats) -> Floats:
    """acc_before - acc_after, absolute."""
    return means[..., 0] - means[..., 1]


def _gain(means: Floats) -> Floats:
    """acc_after - acc_before: positive when knowledge came back."""
    return means[..., 1] - means[..., 0]


def _relative_drop(means: Floats) -> Floats:
    """(acc_base - acc_cand) / acc_base; undefined when base answered nothing."""
    return _ratio(means[..., 0] - means[..., 1], means[..., 0])


def _removed_above(guessed: float) -> Callable[[Floats], Floats]:
    def removed(means: Floats) -> Floats:
        """(acc_base - acc_cand) / (acc_base - guessed); undefined when base is not above it."""
        return _ratio(means[..., 0] - means[..., 1], means[..., 0] - guessed)

    return removed


def _recovery(means: Floats) -> Floats:
    """(acc_q - acc_full) / (acc_base - acc_full); undefined when nothing had been removed."""
    return _ratio(means[..., 2] - means[..., 1], means[..., 0] - means[..., 1])


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The ratio, NaN where the denominator is not positive."""
    positive = np.asarray(denominator) > 0
    return np.where(positive, numerator / np.where(positive, denominator, 1.0), np.nan)
