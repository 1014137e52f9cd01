"""How far an edit moves the weights that NF4 quantizes, on base's own grid."""

from collections.abc import Callable

import torch

from unlearn_guard.quantizers.grid import EMPTY, GridCounts, count
from unlearn_guard.quantizers.layers import linear_shapes, read_tensor, stored_tensors
from unlearn_guard.records import RATIO_OCTAVES, Checkpoint, LayerDrift


def layer_counts(base: Checkpoint, candidate: Checkpoint, progress: Callable[[int], None]) -> dict[str, GridCounts]:
    """The counts of every quantized layer, two tensors in memory at a time, in model order."""
    base_files, candidate_files = stored_tensors(base), stored_tensors(candidate)
    found: dict[str, GridCounts] = {}
    for layer in linear_shapes(base.path):
        name = f"{layer}.weight"
        found[layer] = count(read_tensor(base_files, name), read_tensor(candidate_files, name))
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
