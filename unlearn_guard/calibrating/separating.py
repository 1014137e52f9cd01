"""How well one measurement alone tells who knows from who does not: the area under its ROC curve."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn_guard.judging.metrics import METRICS, Safer
from unlearn_guard.records import Run

_NEARLY = 1e-12
_Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """Of one measurement: AUC (0.5 tells nothing, 1 tells all) with Newcombe's 95 % interval, and what it saw."""

    id: str
    metric: str
    auc: float
    interval: tuple[float, float]
    knowing: tuple[float, ...]
    ignorant: tuple[float, ...]


def separations(runs: Sequence[tuple[Run, bool]]) -> list[Separation]:
    """Every derived measurement that at least two of each kind have, best first. `runs`: each with whether it knows."""
    values: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    metric_of: dict[str, str] = {}
    for run, knows in runs:
        for each in run.measurements:
            if each.metric in METRICS and each.subject == run.candidate.digest:
                values[each.name][0 if knows else 1].append(each.value)
                metric_of[each.name] = each.metric
    found = [
        _separation(name, metric_of[name], knowing, ignorant)
        for name, (knowing, ignorant) in values.items()
        if min(len(knowing), len(ignorant)) > 1
    ]
    return sorted(found, key=lambda each: -each.auc)


def _separation(name: str, metric: str, knowing: Sequence[float], ignorant: Sequence[float]) -> Separation:
    area = auc(knowing, ignorant, higher_knows=METRICS[metric].safer is not Safer.HIGHER)
    interval = newcombe(area, len(knowing), len(ignorant))
    return Separation(
        id=name, metric=metric, auc=area, interval=interval, knowing=tuple(knowing), ignorant=tuple(ignorant)
    )


def auc(knowing: Sequence[float], ignorant: Sequence[float], *, higher_knows: bool) -> float:
    """The chance that one who knows has the larger value (the smaller, if not `higher_knows`); ties count half."""
    from sklearn.metrics import roc_auc_score

    sign = 1 if higher_knows else -1
    labels = [1] * len(knowing) + [0] * len(ignorant)
    return float(roc_auc_score(labels, [sign * each for each in (*knowing, *ignorant)]))


def newcombe(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval of an AUC; unlike a bootstrap's it has a width where the samples do not overlap at all.

    Source: Newcombe 2006, Statistics in Medicine 25, 559-573, method 5: Hanley and McNeil's variance with half the
    sample size in place of either, taken at the bound itself.
    """
    from scipy.optimize import brentq

    half = (positives + negatives) / 2 - 1

    def distance(bound: float, side: int) -> float:
        spread = bound * (1 - bound) / (positives * negatives)
        spread *= 1 + half * (1 - bound) / (2 - bound) + half * bound / (1 + bound)
        return side * (area - bound) - _Z * float(spread**0.5)

    # 0 and 1 are roots as well where the area is, and not the ones that are looked for.
    low = 0.0 if area == 0 else brentq(distance, 0.0, min(area, 1 - _NEARLY), args=(1,))
    high = 1.0 if area == 1 else brentq(distance, max(area, _NEARLY), 1.0, args=(-1,))
    return float(low), float(high)


def as_json(found: Sequence[Separation]) -> list[Mapping[str, object]]:
    """As it is written."""
    return [
        {
            "measurement": each.id,
            "auc": each.auc,
            "interval": list(each.interval),
            "knowing": list(each.knowing),
            "ignorant": list(each.ignorant),
        }
        for each in found
    ]
