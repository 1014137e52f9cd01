"""The NF4 grid in plain torch: which of sixteen cells a weight lies in, how wide it is, and what an update changes.

NF4 scales each run of 64 weights (row-major, across rows) by its largest magnitude and rounds to the nearest of
sixteen levels. A weight's *cell* is the interval that rounds to its level; an update that stays inside it is undone by
quantizing. Codes and scales equal bitsandbytes' element for element.

Source: Dettmers et al. 2023, QLoRA, Appendix E (levels); bitsandbytes `quantize_4bit` (blocks, ties, arithmetic).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

BLOCK = 64
"""Weights that share one scale."""

LEVELS = torch.tensor(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)
"""What a code stands for, in units of the block's scale."""

BOUNDARIES = (LEVELS[:-1] + LEVELS[1:]) / 2
"""Where one code gives way to the next; a weight exactly on a boundary takes the lower code."""

_EDGES = torch.cat([torch.tensor([-1.0]), BOUNDARIES, torch.tensor([1.0])])

_TINY = 1e-38  # bitsandbytes' guard against a block of zeros, which then takes the code of level 0

_SHIFT = 19
"""float32 bits dropped to look a code up: no two boundaries share the sign, exponent and 4 bits of mantissa left."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codes:
    """A weight on the grid: `code` (uint8, the weight's shape) and `absmax` (fp32, one for each block of 64)."""

    code: Tensor
    absmax: Tensor


@lru_cache(maxsize=8)
def _table(device: torch.device) -> tuple[Tensor, Tensor]:
    """For every beginning of a float32's bits the lowest code that it can have (int32), and what only the next exceeds.

    Eleven times as fast as a search among the boundaries, and exactly it.
    """
    first = (torch.arange(1 << (32 - _SHIFT)) << _SHIFT).to(torch.int32)
    ends = torch.stack([first, first | ((1 << _SHIFT) - 1)]).view(torch.float32)
    lowest = torch.bucketize(ends.amin(0), BOUNDARIES, out_int32=True)
    above = torch.cat([BOUNDARIES, torch.tensor([torch.inf])]).index_select(0, lowest)
    return lowest.to(device), above.to(device)


def _nearest(scaled: Tensor) -> Tensor:
    """The code of each of these numbers in [-1, 1]: how many boundaries lie below it. uint8."""
    lowest, above = _table(scaled.device)
    begins = (scaled.view(torch.int32) >> _SHIFT) & ((1 << (32 - _SHIFT)) - 1)
    return (lowest.index_select(0, begins) + (scaled > above.index_select(0, begins))).to(torch.uint8)


def _per_weight(absmax: Tensor, shape: torch.Size) -> Tensor:
    """Each weight's own scale."""
    return absmax.repeat_interleave(BLOCK)[: shape.numel()].reshape(shape)


def codes(weight: Tensor) -> Codes:
    """The NF4 code of every weight and the scale of every block, as bitsandbytes computes them.

    The last block may be short. Full blocks are multiplied by the reciprocal of their scale and a short one is divided
    by it: both are bitsandbytes' arithmetic, and they differ in the last bit.
    """
    flat = weight.detach().reshape(-1).float()
    full = flat.numel() - flat.numel() % BLOCK
    blocks = flat[:full].view(-1, BLOCK)
    absmax = blocks.abs().amax(1)
    scaled = (blocks * (1.0 / absmax.clamp(min=_TINY))[:, None]).view(-1)
    if full < flat.numel():
        last = flat[full:].abs().max().clamp(min=_TINY)
        absmax, scaled = torch.cat([absmax, last[None]]), torch.cat([scaled, flat[full:] / last])
    return Codes(code=_nearest(scaled.clamp_(-1, 1)).reshape(weight.shape), absmax=absmax)


def dequantize(grid: Codes, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights that a 4-bit model computes with: level times scale."""
    levels = LEVELS.to(grid.absmax.device)[grid.code.int()]
    return (levels * _per_weight(grid.absmax, grid.code.shape)).to(dtype)


def cells(grid: Codes) -> tuple[Tensor, Tensor]:
    """Lower and upper bound of each weight's cell in weight units, fp32, the weight's shape.

    The two outer cells end at the scale itself: a weight beyond it would be the block's new scale and move every cell
    of the block. That is also why the bounds hold only while the block's largest element stays where it is.
    """
    edges, scale = _EDGES.to(grid.absmax.device), _per_weight(grid.absmax, grid.code.shape)
    below = grid.code.reshape(-1).int()
    low, high = (edges[start:].index_select(0, below).view(grid.code.shape) for start in (0, 1))
    return low.mul_(scale), high.mul_(scale)


def bin_width(grid: Codes) -> Tensor:
    """Width of each weight's own cell in weight units; 0 in a block of zeros, where any update is a whole new scale."""
    low, high = cells(grid)
    return high - low
