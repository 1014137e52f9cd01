"""How far an edit moves the weights that NF4 quantizes, on base's own grid."""

from collections.abc import Callable
from pathlib import Path

from unlearn_guard.quantizers.grid import EMPTY, GridCounts, count
from unlearn_guard.quantizers.layers import linear_shapes, read_tensor, tensor_files


def layer_counts(base: Path, candidate: Path, progress: Callable[[int], None]) -> dict[str, GridCounts]:
    """The counts of every quantized layer, two tensors in memory at a time, in model order."""
    base_files, candidate_files = tensor_files(base), tensor_files(candidate)
    found: dict[str, GridCounts] = {}
    for layer in linear_shapes(base):
        name = f"{layer}.weight"
        found[layer] = count(read_tensor(base_files, name), read_tensor(candidate_files, name))
        progress(1)
    return found


def total(layers: dict[str, GridCounts]) -> GridCounts:
    """The counts of the whole model."""
    return sum(layers.values(), start=EMPTY)
