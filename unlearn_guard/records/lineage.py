"""Whether a ready-made quantized model was made from the candidate: what was found of each layer, and what follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

WITHIN = 0.75
"""The share of a layer's weights that must lie within one step of the candidate's before it counts as proven.
Calibrated formats move a few further (83 to 100 % lie within; docs/log/2026-11-28-lineage.md)."""

UNRELATED = 0.4
"""A layer of which fewer lie there was not made from the candidate: an unrelated model's do by one in four. What lies
between is neither proven nor refused, since a poor calibration moves many."""

SURE = 4.0
"""Standard errors from the middle between base and candidate that settle it."""

SHARP = 0.1
"""A layer whose error is larger (in units of the way from base to candidate) is settled together with its like."""


class Standing(StrEnum):
    """Whose a layer is."""

    CANDIDATE = "candidate"
    BASE = "base"
    NEITHER = "neither"
    UNSETTLED = "unsettled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLineage:
    """One layer of an artifact against the candidate's and base's.

    `within` is the share of its weights within the format's step of the candidate's; None where the layer is scaled by
    something that could not be found, of which nothing can be said. `towards` says where it lies on the way from base
    (0) to candidate (1), with its standard error; None where the candidate's layer is base's own, or where every code
    was shown to be the candidate's.
    """

    layer: str
    weights: int
    within: float | None
    towards: float | None = None
    error: float | None = None


def standings(layers: Sequence[LayerLineage]) -> tuple[Standing, ...]:
    """Whose each layer is. Small edits drown in the rounding of one layer: those layers are settled by their sum."""
    dull = [(each.towards, each.error) for each in layers if _is_dull(each)]
    pooled = _pooled([(towards, error) for towards, error in dull if towards is not None and error is not None])
    return tuple(pooled if _is_dull(each) else _alone(each) for each in layers)


def lineage(layers: Sequence[LayerLineage]) -> tuple[int, int]:
    """How many layers are shown to be the candidate's, of how many."""
    return sum(each is Standing.CANDIDATE for each in standings(layers)), len(layers)


def _is_dull(layer: LayerLineage) -> bool:
    return layer.within is not None and layer.within >= WITHIN and layer.error is not None and layer.error > SHARP


def _alone(layer: LayerLineage) -> Standing:
    if layer.within is None:
        return Standing.UNSETTLED
    if layer.towards is None or layer.error is None:
        settled = Standing.CANDIDATE
    else:
        settled = _settled(layer.towards, layer.error)
    if settled is Standing.BASE or layer.within >= WITHIN:
        return settled
    return Standing.NEITHER if layer.within < UNRELATED else Standing.UNSETTLED


def _pooled(places: Sequence[tuple[float, float]]) -> Standing:
    """By the mean of the layers' places, each weighed by what it is known to."""
    if not places:
        return Standing.UNSETTLED
    weights = [1 / error**2 for _, error in places]
    mean = sum(towards * weight for (towards, _), weight in zip(places, weights, strict=True)) / sum(weights)
    return _settled(mean, 1 / sqrt(sum(weights)))


def _settled(towards: float, error: float) -> Standing:
    """What lies as far beyond one end as the middle does before it is of neither model, and settles nothing."""
    if not -0.5 - SURE * error <= towards <= 1.5 + SURE * error:
        return Standing.UNSETTLED
    if towards - 0.5 > SURE * error:
        return Standing.CANDIDATE
    return Standing.BASE if towards - 0.5 < -SURE * error else Standing.UNSETTLED
