"""How well an attack tells forgotten texts from texts that no model saw, by what it makes of each.

The area is written as open-unlearning writes it: 1 where every forgotten text looks better known than every unseen one,
1/2 where nobody could tell them apart. (MUSE's is 1 less that; `probes.auc`.)
"""

import math
from collections.abc import Iterator

import numpy as np

from unlearn_guard.judging.membership import auc, resampled, same_texts, sides_of
from unlearn_guard.judging.statistics import Floats, Given, generator, never_seen
from unlearn_guard.records import CONFIDENCE_LEVELS, MIA, MIA_REFERENCE, Interval, Measurement, TaskScore

LOSS = "loss"
"""The metric of the attack that looks at the mean loss, which the reference attack compares with another model's."""


def attacked(score: TaskScore, reference: TaskScore | None, seed: int, given: Given) -> Iterator[Measurement]:
    """`mia_auc` of this attack; of the loss also `mia_reference`, where a model was scored that never saw the texts.

    The reference attack looks at each text's loss less the other model's. Source: open-unlearning (MIT), `mia`.
    """
    yield _area(score, MIA, sides_of(score), seed, given)
    if reference is not None and score.task.metric == LOSS:
        own, others = sides_of(score), same_texts(score, reference)
        yield _area(score, MIA_REFERENCE, (own[0] - others[0], own[1] - others[1]), seed, given)


def _area(score: TaskScore, metric: str, sides: tuple[Floats, Floats], seed: int, given: Given) -> Measurement:
    """The area with DeLong's error, and intervals that are bootstraps of forgotten and unseen texts apart."""
    area, *placed = auc(*sides)
    fewest = min(map(len, sides))
    enough = fewest > 1
    name = f"{score.subject} {metric}[{score.task.name}-{score.precision}]"
    intervals = given.get(name)
    if intervals is None:
        drawn = 1.0 - resampled(sides, None, generator(seed, f"{score.subject} {score.measurement.name} {metric}"))[0]
        intervals = tuple(_interval(drawn, level, 1.0 - area, fewest) for level in CONFIDENCE_LEVELS)
    variance = sum(float(each.var(ddof=1)) / len(each) for each in placed if len(each) > 1)
    return Measurement(
        subject=score.subject,
        precision=score.precision,
        task=score.task.name,
        metric=metric,
        value=1.0 - area,
        samples=len(score.samples),
        stderr=math.sqrt(variance) if enough else None,
        intervals=intervals if enough else (),
    )


def _interval(drawn: Floats, confidence: float, value: float, fewest: int) -> Interval:
    """Of resampled areas; one at its end never leaves it, and what so few texts did not show may still happen."""
    tail = (1.0 - confidence) / 2
    low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1.0 - tail]))
    slack = never_seen(fewest, tail)
    low, high = (min(low, 1.0 - slack) if value == 1.0 else low), (max(high, slack) if value == 0.0 else high)
    return Interval(confidence=confidence, low=low, high=high)
