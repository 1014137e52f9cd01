"""How far an edit moves the weights that NF4 quantizes, on base's own grid."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.grid import BLOCK, EMPTY, GridCounts, count
from unlearn_guard.quantizers.layers import read_weight, stored_tensors
from unlearn_guard.records import RATIO_OCTAVES, Checkpoint, LayerDrift

_LARGE = 2**24
"""Weights of a stack of experts that are counted at a time."""


def layer_counts(base: Checkpoint, candidate: Checkpoint, progress: Callable[[int], None]) -> dict[str, GridCounts]:
    """The counts of every quantized layer and stack of experts, two tensors in memory at a time, in model order.

    A stack of experts is counted as it is quantized: no block reaches over two matrices.
    """
    base_files, candidate_files = stored_tensors(base), stored_tensors(candidate)
    found: dict[str, GridCounts] = {}
    model = coverage(base.path)
    for name in model.units:
        before, after = (read_weight(files, name, model) for files in (base_files, candidate_files))
        counts = [count(*pair) for pair in _pairs(before, after, stacked=name in model.experts)]
        found[name.removesuffix(".weight")] = sum(counts, start=EMPTY)
        progress(1)
    return found


def _pairs(before: Tensor, after: Tensor, *, stacked: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """The two tensors, or of a stack as many matrices at a time as are whole blocks and no more than a large layer."""
    if not stacked or before.shape != after.shape:
        yield before, after
        return
    size = before[0].numel()
    together = max(1, _LARGE // size) if size % BLOCK == 0 else 1
    yield from zip(before.split(together), after.split(together), strict=True)


def total(layers: dict[str, GridCounts]) -> GridCounts:
    """The counts of the whole model."""
    return sum(layers.values(), start=EMPTY)


def by_layer(layers: dict[str, GridCounts]) -> tuple[LayerDrift, ...]:
    """The counts that a report shows, in model order."""
    return tuple(
        LayerDrift(
            layer=layer,
            weights=counts.weights,
            changed=counts.changed,
            flipped=counts.flipped,
            survived=counts.survived,
            ratios=octaves(counts),
        )
        for layer, counts in layers.items()
    )


def octaves(counts: GridCounts) -> tuple[int, ...]:
    """Changed weights by the power of two of |update| / bin width, RATIO_OCTAVES of them; the outer two are open."""
    low, high = RATIO_OCTAVES
    # The fine histogram is over float32 bit patterns: its 256 equal parts are the exponents, biased by 127.
    by_exponent = counts.ratios.view(256, -1).sum(1)
    places = (torch.arange(256) - 127).clamp(low, high) - low
    coarse = torch.zeros(high - low + 1, dtype=torch.int64).index_add_(0, places, by_exponent)
    return tuple(coarse.tolist())
