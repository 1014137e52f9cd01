"""How far an edit moves the weights that NF4 quantizes, on base's own grid, in one pass over the two models' files."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_guard.quantizers.coverage import Coverage, coverage
from unlearn_guard.quantizers.grid import BLOCK
from unlearn_guard.quantizers.layers import read_pieces, read_weight, stored_tensors
from unlearn_guard.quantizers.tally import Ratios, Tally
from unlearn_guard.records import Checkpoint, LayerDrift, StoredTensor

PIECE = 2**19
"""Weights that are read and counted at a time; whole blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The counts of each quantized layer and stack of experts, in model order, and over all of them.

    `update_to_bin` is the median of |update| / width of the base weight's cell over the changed weights: None when
    none changed, of an even number the lower of the middle two, low by less than 1 in 4096, infinite when the median
    update is of a weight in a block of zeros.
    """

    layers: tuple[LayerDrift, ...]
    update_to_bin: float | None

    @property
    def weights(self) -> int:
        """How many weights are quantized."""
        return sum(each.weights for each in self.layers)

    @property
    def changed(self) -> int:
        """How many of them differ in value."""
        return sum(each.changed for each in self.layers)

    @property
    def code_flip_rate(self) -> float | None:
        """Share of weights whose code differs from base's, in [0, 1]; None of no weights."""
        return sum(each.flipped for each in self.layers) / self.weights if self.weights else None

    @property
    def floor_survival(self) -> float | None:
        """Share of changed weights whose code changed too, in [0, 1]; None when no weight changed."""
        return sum(each.survived for each in self.layers) / self.changed if self.changed else None


def measure(
    base: Checkpoint, candidate: Checkpoint, progress: Callable[[int], None], device: torch.device | str = "cpu"
) -> Drift:
    """Count every quantized layer, PIECE weights of the two in memory at a time; progress is told of each layer.

    A stack of experts is counted as it is quantized: no block reaches over two matrices.
    """
    where = torch.device(device)
    files = stored_tensors(base), stored_tensors(candidate)
    model, ratios = coverage(base.path), Ratios(where)
    layers = []
    for name in model.units:
        tally = Tally(ratios)
        before, after = (_pieces(each, name, model) for each in files)
        for pair in zip(before, after, strict=True):
            tally.add(*(piece.to(where) for piece in pair))
        layers.append(tally.drift(name.removesuffix(".weight")))
        progress(1)
    return Drift(layers=tuple(layers), update_to_bin=ratios.median())


def _pieces(files: Mapping[str, StoredTensor], name: str, model: Coverage) -> Iterator[Tensor]:
    """A weight in the order in which it is quantized, in pieces that no block reaches over."""
    if name.removesuffix(".weight") in model.transposed:
        yield from read_weight(files, name, model).reshape(-1).split(PIECE)
        return
    matrix = math.prod(model.experts[name][1:]) if name in model.experts else 0
    yield from read_pieces(files, name, matrix if matrix % BLOCK else PIECE)
