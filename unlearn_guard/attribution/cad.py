"""CAD, AS-C and AS-NC: how far an edit moved the scores of the circuit's edges, and of all others. No torch.

CAD = sum over E(C) of |s - s'| / sum over E(C) of |s|: 0 where the circuit is intact, about 1 where its
attribution is gone, above 1 where it changed sign. Source: arXiv 2605.15138, Section 4.1, Eq. 6.

Ours, as Eq. 11 is not to be had: AS-C and AS-NC are the same sum inside and outside E(C), over the sum of
|s| of *all* edges scored. With C = everything, AS-C is CAD.

All three grow with the noise of the items' scores; beside each stands what is left without it (`noise`).
"""

import numpy as np
from numpy.typing import NDArray

from unlearn_guard.attribution.circuit import Circuit
from unlearn_guard.attribution.noise import FEWEST, Estimate, absolute_sums, noise_ratio, ratio
from unlearn_guard.attribution.scores import Floats, ItemScores
from unlearn_guard.errors import MeasurementError
from unlearn_guard.records import CORRECTED, EdgeScores, Measurement

_NAMES = ("cad", "as_c", "as_nc")


def cad(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> float:
    """Circuit attribution divergence over the edges into the circuit's MLPs. At least 0, without an upper bound."""
    return divergences(base, candidate, circuit)[0]


def as_c(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> float:
    """Change of the scores inside the circuit, as a share of all attribution of the base."""
    return divergences(base, candidate, circuit)[1]


def as_nc(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> float:
    """Change of the scores outside the circuit, as a share of all attribution of the base."""
    return divergences(base, candidate, circuit)[2]


def divergences(base: EdgeScores, candidate: EdgeScores, circuit: Circuit) -> tuple[float, float, float]:
    """CAD, AS-C and AS-NC of the same two models, from one look at their edges."""
    found, contained, outside = _divergence(*_aligned(base, candidate, circuit))[:, 0].tolist()
    return found, contained, outside


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
    base: ItemScores, candidate: ItemScores, circuit: Circuit, *, subject: str, precision: str, task: str
) -> tuple[Measurement, ...]:
    """`cad`, `as_c` and `as_nc` of a candidate, as defined, each with a standard error and intervals.

    The intervals are of the quantity without the items' noise (`noise.Estimate`), and hold the value too: what a limit
    with `confidence` is held against. Below three items, or where base's sum is not told from noise, there is none.
    The circuit is the one given, not found anew. `subject` is the candidate's digest.

    Raises MeasurementError where the two were not scored alike or a denominator is zero.
    """
    inside_E = _comparable(base, candidate, circuit)
    values = _divergence(base.mean_E()[None], candidate.mean_E()[None], inside_E)[:, 0]
    estimates = _estimates(base, candidate, inside_E) if base.items >= FEWEST else (None,) * len(_NAMES)
    return tuple(
        as_measurement(name, value, estimate, subject=subject, precision=precision, task=task, samples=base.items)
        for name, value, estimate in zip(_NAMES, values, estimates, strict=True)
    )


def corrected(
    base: ItemScores, candidate: ItemScores, circuit: Circuit, *, subject: str, precision: str, task: str
) -> tuple[Measurement, ...]:
    """`cad_corrected`, `as_c_corrected`, `as_nc_corrected` and base's `noise_ratio`; none below three items."""
    inside_E = _comparable(base, candidate, circuit)
    if base.items < FEWEST:
        return ()
    _divergence(base.mean_E()[None], candidate.mean_E()[None], inside_E)
    before_NE = base.scores_NE.astype(np.float64)
    noise = Measurement(
        subject=subject,
        precision=precision,
        task=task,
        metric="noise_ratio",
        value=noise_ratio(before_NE, inside_E, absolute_sums(before_NE, inside_E)[0]),
        samples=base.items,
    )
    found = (
        as_corrected(name, each, subject=subject, precision=precision, task=task)
        for name, each in zip(_NAMES, _estimates(base, candidate, inside_E), strict=True)
    )
    return *found, noise


def _comparable(base: ItemScores, candidate: ItemScores, circuit: Circuit) -> NDArray[np.bool_]:
    _check_same(base.edges, candidate.edges, base.steps, candidate.steps)
    if base.items != candidate.items:
        raise MeasurementError(f"base was attributed on {base.items} items and the candidate on {candidate.items}")
    return _inside(base.edges, circuit)


def _estimates(base: ItemScores, candidate: ItemScores, inside_E: NDArray[np.bool_]) -> tuple[Estimate, ...]:
    """CAD, AS-C and AS-NC with the noise taken off."""
    before_NE, after_NE = (each.scores_NE.astype(np.float64) for each in (base, candidate))
    inside, outside = absolute_sums(before_NE, inside_E)
    moved, moved_outside = absolute_sums(before_NE - after_NE, inside_E)
    return ratio(moved, inside), ratio(moved, inside + outside), ratio(moved_outside, inside + outside)


def as_measurement(
    name: str, value: float, estimate: Estimate | None, *, subject: str, precision: str, task: str, samples: int
) -> Measurement:
    """A value as defined, with its own standard error and the intervals of the quantity behind it."""
    return Measurement(
        subject=subject,
        precision=precision,
        task=task,
        metric=name,
        value=float(value),
        samples=samples,
        stderr=None if estimate is None else estimate.plain_error,
        intervals=() if estimate is None else estimate.intervals,
    )


def as_corrected(name: str, estimate: Estimate, *, subject: str, precision: str, task: str) -> Measurement:
    """The same without its bias, under the name that a point limit looks for beside it."""
    return Measurement(
        subject=subject,
        precision=precision,
        task=task,
        metric=name + CORRECTED,
        value=estimate.corrected,
        samples=estimate.items,
        stderr=estimate.error if estimate.known else None,
        intervals=estimate.intervals,
    )
