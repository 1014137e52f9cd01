"""What the items' noise adds to sums of absolute values, taken off again; an interval that says how well. No torch.

The absolute value of a noisy mean is too large on average, so a ratio of sums of them, like CAD, moves with the noise.
Here each edge's mean is given noise of its own variance a second time (what half of the items would show, in closed
form by the normal law), and the *square* of the sum is extrapolated to no noise: S(0)^2 = 2 S(v)^2 - S(2v)^2. That is
exact where scores are spread normally around 0, and where there is nothing but noise. Errors leave one item out.

The interval is c -+ hypot(t * error, k * |c - plain|) around the corrected c. Beyond c, away from the plain value, k
is sqrt 2: where most edges carry nothing the bias grows with sqrt(v), and the extrapolation leaves that much of it.
Towards the plain value k is 1, for where edges are alike too much is taken off: so the interval holds both values.
Measured coverage, and what else was tried: docs/log/2026-11-27-cad-noise.md.

Source of the idea: Cook and Stefanski 1994 (simulation-extrapolation); Miller 1974 (the jackknife, squares by it).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlearn_guard.attribution.scores import Floats
from unlearn_guard.records import CONFIDENCE_LEVELS, Interval

FEWEST = 3
"""Items below which there is no variance when one is left out."""

_BEYOND, _BACK = math.sqrt(2.0), 1.0
_TOLD_APART = 2.5
"""Standard errors from 0 at which a denominator's square counts as more than noise."""

_BLOCK_BYTES = 1 << 25


def mean_absolute(mean: Floats, variance: Floats) -> Floats:
    """E|X| of normal X: |mean| without noise, sqrt(2 variance / pi) without a mean."""
    from scipy.special import erf

    deviation = np.sqrt(variance)
    z = np.abs(mean) / np.where(deviation > 0, deviation, 1.0)
    spread = deviation * math.sqrt(2 / math.pi) * np.exp(-z * z / 2) + np.abs(mean) * erf(z / math.sqrt(2))
    found: Floats = np.where(deviation > 0, spread, np.abs(mean))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """A sum of |mean over items|: entry 0 of all items, entry 1 + n without item n. `noisier` has the noise twice."""

    plain: Floats
    noisier: Floats

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(plain=self.plain + other.plain, noisier=self.noisier + other.noisier)

    @property
    def squares(self) -> Floats:
        """The squares of the sums without noise; negative where noise is all there is."""
        found: Floats = 2 * self.plain**2 - self.noisier**2
        return found


def absolute_sums(scores_NE: Floats, inside_E: NDArray[np.bool_]) -> tuple[Sums, Sums]:
    """The sums over the edges inside and over those outside. Takes `FEWEST` items or more."""
    items, edges = scores_NE.shape
    plain, noisier = np.zeros((2, items + 1)), np.zeros((2, items + 1))
    step = max(1, _BLOCK_BYTES // (8 * (items + 1)))
    for start in range(0, edges, step):
        block = slice(start, start + step)
        mean, variance = _left_out(np.asarray(scores_NE[:, block], dtype=np.float64))
        within = np.stack([inside_E[block], ~inside_E[block]]).astype(np.float64)
        plain += within @ np.abs(mean).T
        noisier += within @ mean_absolute(mean, variance).T
    inside, outside = (Sums(plain=plain[row], noisier=noisier[row]) for row in (0, 1))
    return inside, outside


def _left_out(scores_NE: Floats) -> tuple[Floats, Floats]:
    """Mean of each edge, and that mean's variance, of all items and without each in turn: two [items + 1, edges]."""
    items = len(scores_NE)
    mean_E = scores_NE.mean(axis=0)
    off_NE = scores_NE - mean_E
    squares_E = np.square(off_NE).sum(axis=0)
    mean = np.vstack([mean_E, mean_E - off_NE / (items - 1)])
    squares = np.vstack([squares_E, squares_E - np.square(off_NE) * items / (items - 1)]).clip(min=0.0)
    counts = np.array([items, *[items - 1] * items], dtype=np.float64)[:, None]
    return mean, squares / (counts - 1) / counts


def jackknife_error(left_out_N: Floats) -> float:
    """Standard error of a quantity from its values without each item in turn."""
    items = len(left_out_N)
    return math.sqrt((items - 1) / items * float(np.square(left_out_N - left_out_N.mean()).sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A size as computed (`plain`) and corrected, `square` being the square of the latter with its standard error.

    `known` says that the denominator is told from 0: where it is not, there is neither error nor interval.
    """

    items: int
    plain: float
    plain_error: float | None
    square: float
    square_error: float
    known: bool = True

    @property
    def corrected(self) -> float:
        """The size without the bias; 0 where all of it was noise."""
        return math.sqrt(max(self.square, 0.0))

    @property
    def error(self) -> float:
        """Standard error of `corrected`: half the width of plus and minus one error of its square."""
        return (_root(self.square + self.square_error) - _root(self.square - self.square_error)) / 2

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """At each level: honest about sampling, and about the correction itself."""
        return tuple(self._interval(level) for level in CONFIDENCE_LEVELS) if self.known else ()

    def _interval(self, level: float) -> Interval:
        width = student(self.items - 1, (1 + level) / 2) * self.square_error
        doubt = abs(self.plain - self.corrected)
        below, above = (_BEYOND, _BACK) if self.plain >= self.corrected else (_BACK, _BEYOND)
        low = self.corrected - math.hypot(self.corrected - _root(self.square - width), below * doubt)
        high = self.corrected + math.hypot(_root(self.square + width) - self.corrected, above * doubt)
        # The plain value is inside by construction; in floating point by this line.
        return Interval(confidence=level, low=max(0.0, min(low, self.plain)), high=max(high, self.plain))


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))


def student(freedom: int, probability: float) -> float:
    """Quantile of Student's t: 2.010 for 49 degrees of freedom at .975."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def ratio(over: Sums, under: Sums) -> Estimate:
    """`over` as a share of `under`, with the noise in both taken off.

    A denominator that is nearly all noise counts as its own standard error, which makes the corrected share small
    rather than anything at all.
    """
    items = len(under.plain) - 1
    squares = under.squares
    # Where one item alone has any attribution there is nothing without it, and so no error.
    complete = bool((under.plain > 0).all())
    known = bool((squares > 0).all() and squares[0] > _TOLD_APART * jackknife_error(squares[1:]))
    left_out = over.squares[1:] / squares[1:] if known else np.zeros(items)
    return Estimate(
        items=items,
        plain=float(over.plain[0] / under.plain[0]),
        plain_error=jackknife_error(over.plain[1:] / under.plain[1:]) if complete else None,
        square=float(over.squares[0] / floored(under) ** 2),
        square_error=jackknife_error(left_out),
        known=known,
    )


def floored(sums: Sums) -> float:
    """The sum without noise, but no less than the root of its square's standard error; as computed if both are 0."""
    return _root(max(float(sums.squares[0]), jackknife_error(sums.squares[1:]))) or float(sums.plain[0])


def noise_ratio(scores_NE: Floats, inside_E: NDArray[np.bool_], inside: Sums) -> float:
    """Standard deviation from item to item, over the size of the mean without noise: sums over the edges inside."""
    deviation_E = np.std(scores_NE, axis=0, ddof=1, dtype=np.float64)
    return float(deviation_E[inside_E].sum() / floored(inside))
