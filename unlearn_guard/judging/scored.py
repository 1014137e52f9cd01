"""A task's score with its error over items, and means that are rounded once."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from unlearn_guard.judging import statistics
from unlearn_guard.judging.statistics import NOTHING_GIVEN, Floats, Given
from unlearn_guard.records import Measurement, Role, TaskScore


def with_error(score: TaskScore, seed: int, given: Given = NOTHING_GIVEN) -> Measurement:
    """The score itself with its standard error and intervals over items."""
    if score.task.role is Role.PROBE:
        # Not shares: the bounds on what was never seen do not hold. The measure that the probe feeds has its own.
        return replace(score.measurement, p_value=None)
    shares_N1 = np.array([[sample.correct] for sample in score.samples], dtype=np.float64)
    name = f"{score.subject} {score.measurement.name}"
    taken = given.get(name)
    return replace(
        score.measurement,
        stderr=statistics.stderr(shares_N1, _mean),
        intervals=statistics.intervals(shares_N1, _mean, seed=seed, name=name) if taken is None else taken,
        p_value=None,
    )


def exact_means(answers_NK: Floats) -> Floats:
    """Each column's mean as a Fraction, so that a quantity is rounded once, at its end.

    24 of 160 items lost are 0.15, which a limit of 0.15 lets pass; in floats 1.0 - 0.85 is above it.
    """
    return np.array([_exact_mean(column_N) for column_N in answers_NK.T], dtype=object)


def _exact_mean(answers_N: Floats) -> Fraction:
    """Summed by distinct answers: two where answers are right or wrong, however many items there are."""
    kinds_K, counts_K = np.unique(answers_N, return_counts=True)
    counted = zip(kinds_K.tolist(), counts_K.tolist(), strict=True)
    return sum((Fraction(kind) * count for kind, count in counted), start=Fraction()) / len(answers_N)


def _mean(means: Floats) -> Floats:
    return means[..., 0]
