"""What a probe's items say together, as PrivLeak, forget quality and attacks' AUC do; and TOFU's model utility.

Values in, values out. A quantity whose reference is missing (no retrained model, no published value) is not emitted.
"""

import math
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from unlearn_guard.judging.attacks import attacked
from unlearn_guard.judging.membership import Sides, auc, resampled, same_texts, sides_of
from unlearn_guard.judging.pairing import Table
from unlearn_guard.judging.statistics import NOTHING_GIVEN, Floats, Given, generator, never_seen
from unlearn_guard.records import (
    CONFIDENCE_LEVELS,
    FORGET_QUALITY,
    FULL,
    MIA,
    MODEL_UTILITY,
    PRIVLEAK,
    SUITE,
    Interval,
    Measurement,
    TaskScore,
)

TELLING = 0.001
"""A test that gives no p-value this small to two models without any overlap (six items each) tells nothing apart."""


def probe_measures(
    table: Table, *, subjects: Sequence[str], retrained: str | None, seed: int, given: Given = NOTHING_GIVEN
) -> Iterator[Measurement]:
    """Every measure that the scores of these subjects feed, in the order of tasks, precisions, subjects."""
    for task in table.tasks:
        reference = table.get(retrained, FULL, task.name) if retrained is not None else None
        for precision in table.precisions:
            for subject in subjects:
                score = table.get(subject, precision, task.name)
                if score is not None and task.measure == PRIVLEAK:
                    yield from _privleak(score, reference, seed, given)
                elif score is not None and task.measure == FORGET_QUALITY:
                    yield from _forget_quality(score, reference)
                elif score is not None and task.measure == MIA:
                    yield from attacked(score, reference, seed, given)
    for precision in table.precisions:
        for subject in subjects:
            yield from _model_utility(table, subject, precision)


def _privleak(score: TaskScore, reference: TaskScore | None, seed: int, given: Given) -> Iterator[Measurement]:
    """100 (AUC - AUC_retrained) / AUC_retrained, from -100: remembered, to far above 0: conspicuously avoided.

    The standard error is DeLong's, the intervals are bootstraps of forgotten and unseen texts apart. A published AUC
    of the retrained model counts as known; one of a `reference` was found on the same texts, and is resampled with
    them. Source: Shi et al. 2024, arXiv 2407.06460, Section 3.3; DeLong et al. 1988.
    """
    sides = sides_of(score)
    others = None if reference is None else same_texts(score, reference)
    retrained = score.task.retrained if others is None else auc(*others)[0]
    if retrained is None or retrained <= 0.0:
        return
    value, *placed = auc(*sides)
    if others is not None:  # by the delta method: a text counts with what it adds to the ratio
        placed = [one - value / retrained * other for one, other in zip(placed, auc(*others)[1:], strict=True)]
    variance = sum(float(each.var(ddof=1)) / len(each) for each in placed if len(each) > 1)
    scale = 100.0 / retrained
    fewest = min(map(len, sides))
    intervals = given.get(f"{score.subject} {PRIVLEAK}[{score.task.name}-{score.precision}]")
    if intervals is None:
        drawn = _drawn(sides, others, retrained, generator(seed, f"{score.subject} {score.measurement.name} privleak"))
        intervals = tuple(_interval(drawn, level, value, fewest, retrained) for level in CONFIDENCE_LEVELS)
    enough = fewest > 1
    yield Measurement(
        subject=score.subject,
        precision=score.precision,
        task=score.task.name,
        metric=PRIVLEAK,
        value=scale * (value - retrained),
        samples=len(score.samples),
        stderr=scale * math.sqrt(variance) if enough else None,
        intervals=intervals if enough else (),
    )


def _drawn(sides: Sides, others: Sides | None, retrained: float, draw: np.random.Generator) -> Floats:
    """PrivLeak in each resample, the same texts drawn for both; where the reference's AUC is 0, the largest number."""
    found, against = resampled(sides, others, draw)
    if against is None:
        return np.asarray(100.0 * (found - retrained) / retrained)
    return np.asarray(
        np.where(against > 0.0, 100.0 * (found / np.where(against > 0.0, against, 1.0) - 1.0), sys.float_info.max)
    )


def _interval(drawn: Floats, confidence: float, value: float, fewest: int, retrained: float) -> Interval:
    """Of resampled privleaks of two sides of which the smaller has `fewest` texts; `value` is the AUC that was seen."""
    tail = (1.0 - confidence) / 2
    low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1.0 - tail]))
    # A bootstrap of an AUC at its end never leaves it: what was not seen in so many texts may still happen.
    slack = never_seen(fewest, tail)
    ends = [100.0 * (end - retrained) / retrained for end in (1.0 - slack, slack)]
    low, high = (min(low, ends[0]) if value == 1.0 else low), (max(high, ends[1]) if value == 0.0 else high)
    return Interval(confidence=confidence, low=low, high=high)


def _forget_quality(score: TaskScore, reference: TaskScore | None) -> Iterator[Measurement]:
    """The mean of min(R, 1/R), and with a retrained model the p-value of a two-sample Kolmogorov-Smirnov test.

    R is the truth ratio. A p-value near 1 says that the two models' truth ratios cannot be told apart; it is
    not evidence that they are the same, least of all with few items: with so few that no two models could be told apart
    there is none (`TELLING`). Source: Maini et al. 2024, arXiv 2401.06121,
    Section 2.2.2.
    """
    ratios = [sample.correct for sample in score.samples]
    closer = [min(ratio, 1.0 / ratio) if ratio > 0.0 else 0.0 for ratio in ratios]
    yield _number(score, "forget_truth_ratio", math.fsum(closer) / len(closer))
    if reference is not None:
        from scipy.stats import ks_2samp  # a second of imports, only where it is needed

        others = [sample.correct for sample in reference.samples]
        farthest = ks_2samp([0.0] * len(ratios), [1.0] * len(others)).pvalue
        if farthest <= TELLING:
            yield _number(score, FORGET_QUALITY, float(ks_2samp(ratios, others).pvalue))


def _number(score: TaskScore, metric: str, value: float) -> Measurement:
    return Measurement(
        subject=score.subject,
        precision=score.precision,
        task=score.task.name,
        metric=metric,
        value=value,
        samples=len(score.samples),
    )


def _model_utility(table: Table, subject: str, precision: str) -> Iterator[Measurement]:
    """The harmonic mean of the scores of every task that says it counts: 0 as soon as one of them is 0.

    Nothing where one of them was not asked. Source: Maini et al. 2024, arXiv 2401.06121, Section 2.2.1.
    """
    names = [task.name for task in table.tasks if task.measure == MODEL_UTILITY]
    scores = [table.get(subject, precision, name) for name in names]
    values = [score.measurement.value for score in scores if score is not None]
    if not names or len(values) != len(names):
        return
    yield Measurement(
        subject=subject,
        precision=precision,
        task=SUITE,
        metric=MODEL_UTILITY,
        value=harmonic_mean(values),
        samples=sum(len(score.samples) for score in scores if score is not None),
    )


def harmonic_mean(values: Sequence[float]) -> float:
    """The number of values over the sum of their reciprocals; 0 when one of them is 0."""
    return 0.0 if min(values) <= 0.0 else len(values) / math.fsum(1.0 / value for value in values)
