"""Floors under an edit: how far a changed weight has to be from base's for 4-bit quantization not to undo it.

Two of them. Equation 4's rescales small updates to one length for the whole tensor. The cell floor, ours, moves each
changed weight out of its own NF4 cell, so that survival holds by construction. Both work in the dtype that the weight
is stored in: what is rounded away after a floor is no floor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import torch
from torch import Tensor

from unlearn_guard.errors import NonFiniteError, QuantizationError
from unlearn_guard.quantizers import grid

MARGIN = 2.0**-8
"""How far beyond its cell's end a weight is put, as a share of that end: rounding to bf16 moves a number by less."""

SLACK = 2.0**-20
"""What fp32 may err by in dividing by the scale, in units of the scale."""

GAP = float(grid.LEVELS.diff().min())
"""The smallest distance between two NF4 levels, in units of the scale."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ground:
    """Base's grid under an edit, everything in weight units, fp32, of the weight's shape.

    `low` and `high` are where each weight's neighbours begin, margin included. `fixed` marks the largest elements of
    the blocks: they are the scale. A block of zeros (`empty`) has none, and takes its scale from the edit.
    """

    own: Tensor
    code: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    fixed: Tensor
    empty: Tensor


def _by_matrix(floor: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A stack of experts is floored one matrix an expert, as it is quantized: no block reaches over two."""

    @wraps(floor)
    def floored(base: Tensor, edited: Tensor) -> Tensor:
        if base.dim() < 3 or base.shape != edited.shape:
            return floor(base, edited)
        return torch.stack([floor(one, other) for one, other in zip(base, edited, strict=True)])

    return floored


def _ground(base: Tensor, edited: Tensor) -> _Ground:
    code, own, largest = grid.codes(base).code, base.detach().float(), _largest(base)
    absmax = torch.where(largest == 0, _largest(edited), largest)
    low, high = grid.cells(grid.Codes(code=code, absmax=absmax))
    scale, empty = _spread(absmax, base), _spread(largest == 0, base)
    return _Ground(
        own=own,
        code=code,
        scale=scale,
        low=_past(low, -scale),
        high=_past(high, scale),
        fixed=(own.abs() == scale) & ~empty,
        empty=empty,
    )


def _past(end: Tensor, scale: Tensor) -> Tensor:
    """A number whose nearest in bf16 still lies beyond a cell's end, on the side of the scale's sign."""
    return end + scale.sign() * MARGIN * end.abs() + SLACK * scale


def _largest(weight: Tensor) -> Tensor:
    """The largest magnitude of each block, fp32. It is the scale, but 0 for a short block of zeros too."""
    flat = weight.detach().reshape(-1).float()
    return torch.nn.functional.pad(flat, (0, -flat.numel() % grid.BLOCK)).view(-1, grid.BLOCK).abs().amax(1)


def _spread(of_block: Tensor, like: Tensor) -> Tensor:
    """Each weight's own block's value."""
    return of_block.repeat_interleave(grid.BLOCK)[: like.numel()].view(like.shape)


def _stored(base: Tensor, edited: Tensor) -> Tensor:
    """The edit as it will lie on disk. Raises NonFiniteError."""
    if edited.shape != base.shape:
        raise ValueError(f"base has shape {tuple(base.shape)}, the edit {tuple(edited.shape)}")
    stored = edited.detach().to(base.dtype)
    if not stored.isfinite().all():
        raise NonFiniteError("an edited weight is NaN or infinite", fix="The training diverged: lower lr.")
    return stored


@torch.no_grad()
@_by_matrix
def cell_floor(base: Tensor, edited: Tensor) -> Tensor:
    """The edit with every weight that differs from base's in another NF4 cell than base's, in base's dtype.

    Survival is exact, also after the block's scale is recomputed, because the scale does not move: the largest
    elements of a block keep base's value and no other grows beyond them. A weight that stayed in its cell is pushed,
    in the direction it had taken, just over the cell's end; where nothing lies there (the outermost cells), and where
    the dtype is too coarse to hit the next cell, it goes back to base's value. So fewer weights may differ than before.
    """
    stored = _stored(base, edited)
    ground = _ground(base, stored)
    update = stored.float() - ground.own
    placed = stored.float().clamp(-ground.scale, ground.scale)
    placed = torch.where((update != 0) & ~ground.fixed, placed, ground.own).to(base.dtype)
    beyond = torch.where(update > 0, ground.high, ground.low)
    pushed = torch.where(beyond.abs() < ground.scale, beyond, ground.own).to(base.dtype)
    for inside in (pushed, base):
        same = grid.codes(placed).code == ground.code
        placed = torch.where(same & (placed != base), inside, placed)
    floored = torch.where(placed != base, placed, base)
    if ((grid.codes(floored).code == ground.code) & (floored != base)).any():
        raise QuantizationError("a weight that the cell floor changed kept its NF4 code: the edit would not survive")
    return floored


@torch.no_grad()
@_by_matrix
def paper_floor(base: Tensor, edited: Tensor) -> Tensor:
    """The edit with every update of at least delta, its direction kept, in base's dtype. Survival is not certain.

    delta, ours, as the paper's is not to be had: mean scale of the tensor's blocks times the smallest gap between NF4
    levels. Of Gaussian weights moved by delta about three in four leave their cell.

    Source: arXiv 2605.15138, Equation 4 with Definition 1's bin width, one delta a tensor (Section 4, Phase 3).
    """
    stored = _stored(base, edited)
    own = base.detach().float()
    delta = grid.codes(base).absmax.mean() * GAP
    update = stored.float() - own
    short = (update != 0) & (update.abs() < delta)
    return torch.where(short, (own + update.sign() * delta).to(base.dtype), stored)


@torch.no_grad()
@_by_matrix
def reach(base: Tensor, edited: Tensor) -> Tensor:
    """|update| over the distance to the neighbouring cell in its direction, fp32: 1 has just arrived there.

    0 for a weight that did not change or that cell_floor would put back; infinite in a block of zeros, where any
    update is a new scale.
    """
    stored = _stored(base, edited)
    ground = _ground(base, stored)
    update = stored.float() - ground.own
    beyond = torch.where(update > 0, ground.high, ground.low)
    possible = (update != 0) & ~ground.fixed & (beyond.abs() < ground.scale)
    found = torch.where(possible, update / (beyond - ground.own), 0.0)
    return torch.where(ground.empty & (update != 0), torch.inf, found)


@torch.no_grad()
def outside(base: Tensor, floored: Tensor) -> tuple[Tensor, Tensor]:
    """Where each weight of a floored edit may go, in base's dtype, so that it stays out of base's cell on its side.

    A weight that does not differ from base may not move, nor one in a block of zeros.
    """
    if base.dim() == 3:
        ends = [outside(one, other) for one, other in zip(base, floored, strict=True)]
        return torch.stack([low for low, _ in ends]), torch.stack([high for _, high in ends])
    ground = _ground(base, floored)
    update = floored.float() - ground.own
    moves = (update != 0) & ~ground.empty
    low = torch.where(update > 0, torch.minimum(ground.high, floored.float()), -ground.scale)
    high = torch.where(update < 0, torch.maximum(ground.low, floored.float()), ground.scale)
    own = floored.float()
    return torch.where(moves, low, own).to(base.dtype), torch.where(moves, high, own).to(base.dtype)
