"""Where a quantized layer lies between base's weights and the candidate's: for formats whose codes follow from data."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unlearn_guard.errors import Defect
from unlearn_guard.quantizers.packed import Grid
from unlearn_guard.records import UNRELATED, LayerLineage, Standing, standings

_NEAR = 1.5
"""Steps from the middle of base and candidate within which a weight has a say."""


def nearness(layer: str, codes: Grid, candidate: Tensor, base: Tensor) -> LayerLineage:
    """One layer's lineage, by its codes and both models' weights, all of one shape.

    With d what a code's weight differs from base by and u what the candidate's does, both in steps, the place between
    them is the slope of d on u: 0 for a model made from base, 1 for one made from the candidate, whatever rounding
    adds that does not know of u. Clipping does: it shrinks the largest weights, as an edit may, so that the first and
    the last code of the grid have no say.
    """
    step = codes.step.clamp(min=torch.finfo(torch.float32).tiny)
    near = ((codes.weight - candidate) / step).abs() <= 1
    moved, went = (candidate - base) / step, (codes.weight - base) / step
    heard = codes.inner & (((codes.weight - (candidate + base) / 2) / step).abs() <= _NEAR)
    moved, went = moved[heard].double(), went[heard].double()
    length = float((moved * moved).sum())
    towards = error = None
    if bool((candidate != base).any()):
        towards, error = 0.5, 1.0  # nothing that could be heard: the middle, and no wiser
        if length > 0:
            towards = float((moved * went).sum()) / length
            error = float((went - towards * moved).square().mean().sqrt()) / length**0.5
    within = float(near.double().mean())
    return LayerLineage(layer=layer, weights=codes.weight.numel(), within=within, towards=towards, error=error)


def unexplained(found: LayerLineage) -> LayerLineage:
    """The layer of which nothing can be said: it is scaled by what could not be found."""
    return replace(found, within=None, towards=None, error=None)


def not_the_candidate_s(layers: Sequence[LayerLineage]) -> Iterator[Defect]:
    """The layers that are shown to be another model's, each by its name."""
    for each, standing in zip(layers, standings(layers), strict=True):
        expected = "the candidate's, within a step"
        if standing is Standing.NEITHER:
            found = f"{each.within:.0%} of its weights within a step of the candidate's"
            yield Defect(where=each.layer, found=found, expected=f"at least {UNRELATED:.0%}")
        elif standing is Standing.BASE:
            place = f"{each.towards:.2f} ± {each.error:.2f} of the way from base to the candidate"
            yield Defect(where=each.layer, found=f"nearer to base: {place}", expected=expected)
