"""Hold every weight inside its own cell of a 4-bit format, so that quantizing undoes the edit.

NF4 and llama.cpp's Q4_0 round each weight by itself: base is back bit for bit, of Q4_0 but for the few weights that
lie on a boundary, where a division and llama.cpp's product with the reciprocal take different sides. GPTQ and AWQ
round to integers after moving the weights, by what earlier columns lost and by a scale for each channel, so that
these cells are only where they would begin: what survives is in docs/calibration.md.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from unlearn_guard.quantizers import grid

_MARGIN = 2.0**-8
"""Kept from each end of a cell, in units of the block's scale: twice what storing in bf16 can move a weight."""

_GROUP, _SMALL_BLOCK, _LARGEST_CODE = 128, 32, 15


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


def integer_bounds(weight: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """The same for integers from 0 to 15 in groups of 128 inputs: GPTQ's, symmetric about 0, or AWQ's, from min to max.

    The elements that set a group's scale may not move.
    """
    own = weight.float()
    groups = own.view(-1, _GROUP)
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    step = (high - low) / _LARGEST_CODE
    zero = torch.round(-low / step) if not symmetric else torch.full_like(step, (_LARGEST_CODE + 1) // 2)
    level = ((groups / step).round() + zero).clamp(0, _LARGEST_CODE) - zero
    spare = _MARGIN * groups.abs().amax(1, keepdim=True)
    down, up = (level - 0.5) * step + spare, (level + 0.5) * step - spare
    down, up = torch.minimum(down, groups).clamp(min=low), torch.maximum(up, groups).clamp(max=high)
    fixed = (groups == high) | (groups == low)
    bounded = (torch.where(fixed, groups, down), torch.where(fixed, groups, up))
    return bounded[0].view(own.shape), bounded[1].view(own.shape)


def q4_0_bounds(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same for llama.cpp's Q4_0: blocks of 32, steps of an eighth of the largest weight, which has code 0.

    On the other side of zero the cells end an eighth before: what lies beyond is clipped into the last.
    """
    own = weight.float()
    blocks = own.view(-1, _SMALL_BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    step = largest / -8
    code = (blocks / step + 8.5).floor().clamp(0, _LARGEST_CODE)
    ends = torch.stack([(code - 8.5) * step, (code - 7.5) * step])
    size, spare = largest.abs(), _MARGIN * largest.abs()
    last = code == _LARGEST_CODE  # clipped: as far as the scale stays what it is
    low = torch.where(last & (step < 0), -size, ends.amin(0)) + spare
    high = torch.where(last & (step > 0), size, ends.amax(0)) - spare
    low, high = low.clamp(min=-size + spare), high.clamp(max=size - spare)
    fixed = (blocks.abs() == size) | (step == 0)
    low, high = torch.minimum(low, blocks), torch.maximum(high, blocks)
    return torch.where(fixed, blocks, low).view(own.shape), torch.where(fixed, blocks, high).view(own.shape)


_BOUNDS: Mapping[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "nf4": bounds,
    "gptq": partial(integer_bounds, symmetric=True),
    "awq": partial(integer_bounds, symmetric=False),
    "gguf-q4_0": q4_0_bounds,
}


def projection(
    base: Mapping[str, Tensor], weights: Mapping[str, Tensor], formats: Sequence[str] = ("nf4",)
) -> Callable[[], None]:
    """A function that clamps `weights`, in place, into the cells of the same-named `base` tensors in all formats."""
    limits = []
    for name, weight in weights.items():
        found = [_BOUNDS[each](base[name]) for each in formats]
        low = torch.stack([low for low, _ in found]).amax(0)
        limits.append((weight, low, torch.stack([high for _, high in found]).amin(0)))

    @torch.no_grad()
    def project() -> None:
        for weight, low, high in limits:
            weight.clamp_(low, high)

    return project
