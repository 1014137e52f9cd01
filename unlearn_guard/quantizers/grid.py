"""The NF4 grid in plain torch: which of sixteen cells a weight lies in, how wide it is, and what an update changes.

NF4 scales each run of 64 weights (row-major, across rows) by its largest magnitude and rounds to the nearest of
sixteen levels. A weight's *cell* is the interval that rounds to its level; an update that stays inside it is undone by
quantizing. Codes and scales equal bitsandbytes' element for element.

Source: Dettmers et al. 2023, QLoRA, Appendix E (levels); bitsandbytes `quantize_4bit` (blocks, ties, arithmetic).
"""

from dataclasses import dataclass

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

_RATIO_SHIFT = 11  # float32 bits dropped when ratios are counted: 12 of the 23 mantissa bits stay
_RATIO_BINS = 1 << (31 - _RATIO_SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codes:
    """A weight on the grid: `code` (uint8, the weight's shape) and `absmax` (fp32, one for each block of 64)."""

    code: Tensor
    absmax: Tensor


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
    code = torch.bucketize(scaled.clamp(-1, 1), BOUNDARIES.to(flat.device), out_int32=True)
    return Codes(code=code.to(torch.uint8).reshape(weight.shape), absmax=absmax)


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
    return edges[grid.code.int()] * scale, edges[grid.code.int() + 1] * scale


def bin_width(grid: Codes) -> Tensor:
    """Width of each weight's own cell in weight units; 0 in a block of zeros, where any update is a whole new scale."""
    low, high = cells(grid)
    return high - low


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridCounts:
    """How an edit sits on base's grid, as counts that add up over tensors, so that no two tensors are held at once.

    `ratios` counts |update| / bin width of the changed weights in a fixed histogram over float32 bit patterns, whose
    order is that of the numbers: 2^20 bins, each less than one part in 4096 wide.
    """

    weights: int
    changed: int
    flipped: int
    survived: int
    ratios: Tensor

    def __add__(self, other: "GridCounts") -> "GridCounts":
        return GridCounts(
            weights=self.weights + other.weights,
            changed=self.changed + other.changed,
            flipped=self.flipped + other.flipped,
            survived=self.survived + other.survived,
            ratios=self.ratios + other.ratios,
        )

    @property
    def code_flip_rate(self) -> float | None:
        """Share of weights whose code differs from base's, in [0, 1]; None of no weights."""
        return self.flipped / self.weights if self.weights else None

    @property
    def floor_survival(self) -> float | None:
        """Share of changed weights whose code changed too, in [0, 1]; None when no weight changed."""
        return self.survived / self.changed if self.changed else None

    @property
    def update_to_bin(self) -> float | None:
        """Median of |update| / width of the base weight's cell over changed weights; None when no weight changed.

        Of an even number the lower of the middle two; the lower edge of its bin, so low by less than 1 in 4096.
        Infinite when the median update is of a weight in a block of zeros.
        """
        if not self.changed:
            return None
        middle = torch.tensor((self.changed - 1) // 2)
        place = torch.searchsorted(self.ratios.cumsum(0), middle, right=True)
        return (place << _RATIO_SHIFT).to(torch.int32).view(torch.float32).item()


EMPTY = GridCounts(weights=0, changed=0, flipped=0, survived=0, ratios=torch.zeros(_RATIO_BINS, dtype=torch.int64))
"""What a sum over tensors starts from: `sum(counts, start=EMPTY)`."""


def count(base: Tensor, candidate: Tensor) -> GridCounts:
    """Counts for one weight of base and the same weight of the candidate; both keep the dtype they are stored in.

    A weight has changed if its stored value has. Its code can flip without that, when another weight of the block
    becomes the largest: such flips count in `code_flip_rate`, not in `floor_survival`. Which tensors count is the
    caller's to say: every Linear's weight except lm_head, which are the ones that NF4 quantizes.
    """
    if base.shape != candidate.shape:
        raise ValueError(f"base has shape {tuple(base.shape)}, the candidate {tuple(candidate.shape)}")
    before, after = codes(base), codes(candidate)
    changed, flipped = base != candidate, before.code != after.code
    update = (candidate.float() - base.float())[changed].abs()
    ratio = update / bin_width(before)[changed]
    places = ratio.contiguous().view(torch.int32) >> _RATIO_SHIFT
    return GridCounts(
        weights=base.numel(),
        changed=int(changed.sum()),
        flipped=int(flipped.sum()),
        survived=int((changed & flipped).sum()),
        ratios=torch.bincount(places.cpu(), minlength=_RATIO_BINS),
    )
