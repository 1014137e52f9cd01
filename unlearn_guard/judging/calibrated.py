"""The calibration that brings most back, of several: by the answers alone."""

from collections.abc import Mapping
from dataclasses import replace

from unlearn_guard.judging.metrics import SPREAD
from unlearn_guard.records import Calibrated, Measurement, TaskScore


def calibrated(tried: Mapping[str, TaskScore]) -> Calibrated:
    """One task's scores at one precision, by calibration in the order tried; the largest counts."""
    first = next(iter(tried.values()))
    scores = {name: score.measurement.value for name, score in tried.items()}
    worst = max(scores, key=lambda name: scores[name])
    return Calibrated(precision=first.precision, task=first.task.name, worst=worst, scores=scores)


def spread(found: Calibrated, own: TaskScore) -> Measurement:
    """How much the choice of the calibration moves the score; `own` is the one that counts."""
    return replace(own.measurement, metric=SPREAD, value=found.spread, stderr=None, intervals=(), p_value=None)
