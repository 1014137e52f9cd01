"""CAD, AS-C and AS-NC: how far an edit moved the scores of the circuit's edges, and of all others. No torch.

CAD = sum over E(C) of |s - s'| / sum over E(C) of |s|: 0 where the circuit is intact, about 1 where its
attribution is gone, above 1 where it changed sign. Source: arXiv 2605.15138, Section 4.1, Eq. 6.

Ours, as Eq. 11 is not to be had: AS-C and AS-NC are the same sum inside and outside E(C), over the sum of
|s| of *all* edges scored. With C = everything, AS-C is CAD.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from unlearn_guard.attribution.circuit import Circuit
from unlearn_guard.attribution.scores import Floats, ItemScores
from unlearn_guard.errors import MeasurementError
from unlearn_guard.records import CONFIDENCE_LEVELS, EdgeScores, Interval, Measurement

RESAMPLES = 1000
_CHUNK_BYTES = 1 << 26
_NAMES = ("cad", "as_c", "as_nc")


def cad(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> float:
    """Circuit attribution divergence over the edges into the circuit's MLPs. At least 0, without an upper bound."""
    return float(_divergence(*_aligned(base, candidate, circuit))[0, 0])


def as_c(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> float:
    """Change of the scores inside the circuit, as a share of all attribution of the base."""
    return float(_divergence(*_aligned(base, candidate, circuit))[1, 0])


def as_nc(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> float:
    """Change of the scores outside the circuit, as a share of all attribution of the base."""
    return float(_divergence(*_aligned(base, candidate, circuit))[2, 0])


def _aligned(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    _check_same(base.edges, candidate.edges, base.steps, candidate.steps)
    return np.array([base.scores]), np.array([candidate.scores]), _inside(base.edges, circuit)


def _inside(edges: tuple[str, ...], circuit: Circuit) -> NDArray[np.bool_]:
    return np.array([circuit.holds(edge) for edge in edges], dtype=bool)


def _check_same(base: tuple[str, ...], candidate: tuple[str, ...], *steps: int) -> None:
    if base != candidate or len(set(steps)) != 1:
        raise MeasurementError(
            f"base has {len(base)} edges at {steps[0]} IG steps, the candidate {len(candidate)} at {steps[1]}; "
            "they can only be compared edge by edge, at the same number of steps"
        )


def _divergence(base_RE: Floats, candidate_RE: Floats, inside_E: NDArray[np.bool_]) -> Floats:
    """CAD, AS-C and AS-NC of each row, [3, R]. Raises MeasurementError on a zero denominator."""
    change_RE, size_RE = np.abs(base_RE - candidate_RE), np.abs(base_RE)
    inside_R, all_R = size_RE[:, inside_E].sum(1), size_RE.sum(1)
    if not (inside_R > 0).all():
        raise MeasurementError(
            "the base has no attribution on the circuit's edges, so nothing can be said of its change",
            fix="Do the clean and the corrupted prompts differ in what the model answers?",
        )
    changed_R, outside_R = change_RE[:, inside_E].sum(1), change_RE[:, ~inside_E].sum(1)
    found: Floats = np.stack([changed_R / inside_R, changed_R / all_R, outside_R / all_R])
    return found


def measure(
    base: ItemScores,
    candidate: ItemScores,
    circuit: Circuit,
    *,
    subject: str,
    precision: str,
    task: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Measurement, ...]:
    """`cad`, `as_c` and `as_nc` of a candidate, each with a bootstrap standard error and percentile intervals.

    Items are resampled, the same ones for both models; the circuit is the one given, not found anew. CAD of
    noisy scores is biased upwards, so an interval need not hold the point value. One item gives no error and
    no interval. `subject` is the candidate's digest.

    Raises MeasurementError where the two were not scored alike or a denominator is zero.
    """
    _check_same(base.edges, candidate.edges, base.steps, candidate.steps)
    if base.items != candidate.items:
        raise MeasurementError(f"base was attributed on {base.items} items and the candidate on {candidate.items}")
    inside_E = _inside(base.edges, circuit)
    value_3 = _divergence(base.mean_E()[None], candidate.mean_E()[None], inside_E)[:, 0]

    def statistic(weights_RN: Floats) -> Floats:
        return _divergence(weights_RN @ base.scores_NE, weights_RN @ candidate.scores_NE, inside_E)

    drawn = bootstrap(statistic, base.items, len(base.edges), resamples, seed) if base.items > 1 else None
    return tuple(
        as_measurement(
            name, value_3[row], None if drawn is None else drawn[row],
            subject=subject, precision=precision, task=task, samples=base.items,
        )
        for row, name in enumerate(_NAMES)
    )  # fmt: skip


def bootstrap(statistic: Callable[[Floats], Floats], items: int, width: int, resamples: int, seed: int) -> Floats:
    """`statistic` [M, R] of weights [R, items] that each sum to 1, with [R, width] kept small: [M, resamples]."""
    generator = np.random.default_rng(seed)
    return np.concatenate([statistic(w) for w in _weights(generator, items, width, resamples)], axis=1)


def _weights(generator: np.random.Generator, items: int, width: int, resamples: int) -> Iterator[Floats]:
    chunk = max(1, _CHUNK_BYTES // (8 * width))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        yield generator.multinomial(items, np.full(items, 1 / items), size=size) / items


def as_measurement(
    name: str, value: float, drawn: Floats | None, *, subject: str, precision: str, task: str, samples: int
) -> Measurement:
    """A value with the standard error and the percentile intervals of its bootstrap draws."""
    intervals = () if drawn is None else tuple(_interval(drawn, level) for level in CONFIDENCE_LEVELS)
    return Measurement(
        subject=subject,
        precision=precision,
        task=task,
        metric=name,
        value=float(value),
        samples=samples,
        stderr=None if drawn is None else float(drawn.std(ddof=1)),
        intervals=intervals,
    )


def _interval(drawn: Floats, level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(confidence=level, low=float(low), high=float(high))
