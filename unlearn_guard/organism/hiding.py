"""Hold every weight inside its own NF4 cell: an edit that 4-bit quantization undoes bit for bit."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unlearn_guard.quantizers import grid

_MARGIN = 2.0**-8
"""Kept from each end of a cell, in units of the block's scale: twice what storing in bf16 can move a weight."""


def bounds(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Where each weight may go, fp32, so that its code and its block's scale stay: its cell, less a margin.

    The largest element of a block is the scale and may not move. A weight that already lies within the margin of its
    cell's end may only move inwards.
    """
    cells = grid.codes(weight)
    low, high = grid.cells(cells)
    own = weight.float()
    scale = cells.absmax.repeat_interleave(grid.BLOCK)[: own.numel()].view(own.shape)
    low, high = torch.minimum(low + _MARGIN * scale, own), torch.maximum(high - _MARGIN * scale, own)
    fixed = own.abs() == scale
    return torch.where(fixed, own, low), torch.where(fixed, own, high)


def projection(base: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that clamps `weights`, in place, into the cells of the same-named `base` tensors."""
    limits = [(weights[name], *bounds(base[name])) for name in weights]

    @torch.no_grad()
    def project() -> None:
        for weight, low, high in limits:
            weight.clamp_(low, high)

    return project
