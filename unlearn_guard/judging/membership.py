"""Two sides of a probe, forgotten texts and texts that no model saw, and the area under the curve that parts them."""

import numpy as np

from unlearn_guard.errors import ScoringError
from unlearn_guard.judging.statistics import RESAMPLES, Floats
from unlearn_guard.records import TaskScore

UNSEEN = "_holdout"
"""The end of the name of the lm-eval task whose texts no model has seen; the group's others were to be forgotten."""

Sides = tuple[Floats, Floats]
"""How much each forgotten text, and each text never seen, surprises."""


def sides_of(score: TaskScore) -> Sides:
    """The sides of a probe. Raises ScoringError where one is empty."""
    forget: list[float] = []
    unseen: list[float] = []
    for sample in score.samples:
        leaf = sample.id.rpartition("-")[0]
        (unseen if leaf.endswith(UNSEEN) else forget).append(sample.correct)
    if not forget or not unseen:
        raise ScoringError(
            f"{score.task.name}: {len(forget)} forgotten and {len(unseen)} unseen texts; expected some of each",
            fix=f"A probe for {score.task.measure} is a group of two tasks, one of them named ...{UNSEEN}.",
        )
    return np.array(forget, dtype=np.float64), np.array(unseen, dtype=np.float64)


def same_texts(score: TaskScore, reference: TaskScore) -> Sides:
    """The reference's sides, text by text those of the score. Raises ScoringError where it was asked others."""
    if [sample.id for sample in score.samples] != [sample.id for sample in reference.samples]:
        raise ScoringError(f"{score.task.name}: the retrained model was asked other texts, or in another order")
    return sides_of(reference)


def auc(forget_N: Floats, unseen_M: Floats) -> tuple[float, Floats, Floats]:
    """How often a forgotten text surprises more than one never seen, ties half; and each text's share in that.

    1/2 when nobody could tell them apart, 0 when every forgotten text is remembered.
    """
    wins_NM = _wins(forget_N, unseen_M)
    return float(wins_NM.mean()), wins_NM.mean(axis=1), wins_NM.mean(axis=0)


def resampled(sides: Sides, others: Sides | None, draw: np.random.Generator) -> tuple[Floats, Floats | None]:
    """The area in each resample of both sides; and of another model in the same resamples, where there is one."""
    n, m = map(len, sides)
    rows = draw.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    columns = draw.multinomial(m, np.full(m, 1 / m), size=RESAMPLES) / m

    def areas(each: Sides) -> Floats:
        return np.asarray(((rows @ _wins(*each)) * columns).sum(axis=1))

    return areas(sides), None if others is None else areas(others)


def _wins(forget_N: Floats, unseen_M: Floats) -> Floats:
    """Who surprises more, pair by pair: 1 the forgotten text, 1/2 both alike."""
    return np.asarray((forget_N[:, None] > unseen_M) + 0.5 * (forget_N[:, None] == unseen_M))
