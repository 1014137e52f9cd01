"""How small a gap so many questions can tell from none, before anything is measured."""

import math

import numpy as np

from unlearn_guard.judging import statistics
from unlearn_guard.judging.statistics import Floats

LEVEL = 0.95
"""Of the interval, and one minus the p below which McNemar's test counts."""

DISCORDANCE = 0.14
"""The share of right or wrong answers that differ between full precision and 4 bits: what was seen on real weights.

SmolLM2-135M after NPO, 170 questions for capitals, full against NF4 and GPTQ: a gap of .035 with a 95 % interval from
-.018 to .094, so a standard error of .0286, which is that of .14 of the answers differing.
"""


def smallest_gap(items: int, *, discordance: float) -> float | None:
    """The smallest share of `items`, won net of lost, that is told from 0; None where not even all of them are.

    Told: the paired 95 % interval, which limits with a confidence are held against, lies above 0, and McNemar's exact
    two-sided p is below 0.05. `discordance` is the share of items whose answer differs at all; more differ where the
    gap needs it, all in one direction then. With 0 that is always so, and takes nine items, not McNemar's six: the
    interval is widened by what was not seen in the other direction.
    """
    low, high = 1, items
    if not _told(items, items, discordance):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _told(middle, items, discordance) else (middle + 1, high)
    return low / items


def _told(net: int, items: int, discordance: float) -> bool:
    """Whether a gap of `net` items is told: won minus lost is `net`, won plus lost the discordance or just above."""
    lost = max(0, math.ceil((discordance * items - net) / 2))
    won = net + lost
    if won + lost > items:
        return False
    before_N = np.zeros(items)
    after_N = np.zeros(items)
    after_N[:won] = 1.0
    before_N[won : won + lost] = 1.0
    p = statistics.mcnemar_p(before_N.tolist(), after_N.tolist())
    if p is None or p >= 1.0 - LEVEL:
        return False
    answers_N2 = np.stack([before_N, after_N], axis=-1)
    found = statistics.intervals(answers_N2, _more, seed=0, name=f"gap of {net} in {items}")
    return any(each.confidence == LEVEL and each.low > 0.0 for each in found)


def _more(means: Floats) -> Floats:
    return means[..., 1] - means[..., 0]
