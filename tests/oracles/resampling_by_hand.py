"""The paired bootstrap, written as its definition says: draw items, one by one, and count again."""

import math
import random


def intervals(rows, statistic, *, confidence, resamples, seed):
    """Percentile interval of `statistic(list of column means)` over rows drawn with replacement."""
    generator = random.Random(seed)
    values = []
    for _ in range(resamples):
        drawn = [generator.choice(rows) for _ in rows]
        values.append(statistic([sum(column) / len(rows) for column in zip(*drawn, strict=True)]))
    values.sort()
    tail = (1 - confidence) / 2
    last = resamples - 1
    return values[math.floor(tail * last)], values[math.ceil((1 - tail) * last)]


def left_out(rows, statistic):
    """Jackknife standard error by leaving each row out in turn."""
    n = len(rows)
    values = []
    for i in range(n):
        rest = rows[:i] + rows[i + 1 :]
        values.append(statistic([sum(column) / (n - 1) for column in zip(*rest, strict=True)]))
    mean = sum(values) / n
    return math.sqrt((n - 1) / n * sum((value - mean) ** 2 for value in values))
