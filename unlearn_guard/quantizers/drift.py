"""How far an edit moves the weights that NF4 quantizes, on base's own grid."""

from collections.abc import Callable

import torch

from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.grid import EMPTY, GridCounts, count
from unlearn_guard.quantizers.layers import read_weight, stored_tensors
from unlearn_guard.records import RATIO_OCTAVES, Checkpoint, LayerDrift


def layer_counts(base: Checkpoint, candidate: Checkpoint, progress: Callable[[int], None]) -> dict[str, GridCounts]:
    """The counts of every quantized layer and stack of experts, two matrices in memory at a time, in model order.

    A stack of experts is counted one matrix an expert, as it is quantized.
    """
    base_files, candidate_files = stored_tensors(base), stored_tensors(candidate)
    found: dict[str, GridCounts] = {}
    model = coverage(base.path)
    for name in model.units:
        before, after = (read_weight(files, name, model) for files in (base_files, candidate_files))
        pairs = zip(before, after, strict=True) if name in model.experts else ((before, after),)
        found[name.removesuffix(".weight")] = sum((count(*pair) for pair in pairs), start=EMPTY)
        progress(1)
    return found


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
