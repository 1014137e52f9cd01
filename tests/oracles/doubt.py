"""How many items decide, by brute force: the same answers again and again until the interval lies on one side."""

import numpy as np

from unlearn_guard.judging import statistics


def items_that_decide(won, lost, items, bound, confidence=0.95):
    """The first multiple of a hundredth of `items` at which the paired interval, shares as they are, leaves `bound`."""
    for hundredths in range(100, 3000, 5):
        size = round(items * hundredths / 100)
        kinds = [round(each * size / items) for each in (won, lost)]
        after = np.array([1.0] * kinds[0] + [0.0] * (size - kinds[0]))
        before = np.array([0.0] * (size - kinds[1]) + [1.0] * kinds[1])
        found = statistics.intervals(np.stack([before, after], axis=-1), _gain, seed=0, name=f"{size}")
        interval = next(each for each in found if each.confidence == confidence)
        if not interval.low <= bound <= interval.high:
            return size
    return None


def _gain(means):
    return means[..., 1] - means[..., 0]
