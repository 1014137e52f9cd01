"""How an edit sits on base's NF4 grid, a tensor at a time: as it was counted before files were read in pieces.

Slow and literal: whole tensors, a histogram of 8 MB for each, codes by a search among the boundaries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_guard.quantizers.grid import BLOCK, BOUNDARIES, LEVELS

RATIO_SHIFT = 11  # float32 bits dropped when ratios are counted: 12 of the 23 mantissa bits stay
RATIO_BINS = 1 << (31 - RATIO_SHIFT)
TINY = 1e-38


def searched(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The code and the scale of every weight."""
    flat = weight.detach().reshape(-1).float()
    found, scales = [], []
    for block in flat.split(BLOCK):
        scale = block.abs().max()
        safe = scale.clamp(min=TINY)
        scaled = block * (1.0 / safe) if len(block) == BLOCK else block / safe
        found.append(torch.bucketize(scaled.clamp(-1, 1), BOUNDARIES))
        scales.append(scale.expand(len(block)) if len(block) == BLOCK else safe.expand(len(block)))
    return torch.cat(found).view(weight.shape), torch.cat(scales).view(weight.shape)


def widths(code: Tensor, scale: Tensor) -> Tensor:
    edges = torch.cat([torch.tensor([-1.0]), (LEVELS[:-1] + LEVELS[1:]) / 2, torch.tensor([1.0])])
    return edges[code + 1] * scale - edges[code] * scale


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
        return (place << RATIO_SHIFT).to(torch.int32).view(torch.float32).item()


EMPTY = GridCounts(weights=0, changed=0, flipped=0, survived=0, ratios=torch.zeros(RATIO_BINS, dtype=torch.int64))
"""What a sum over tensors starts from: `sum(counts, start=EMPTY)`."""


def count(base: Tensor, candidate: Tensor) -> GridCounts:
    """Counts for one weight of base and the same weight of the candidate; both keep the dtype they are stored in.

    A weight has changed if its stored value has. Its code can flip without that, when another weight of the block
    becomes the largest: such flips count in `code_flip_rate`, not in `floor_survival`. Which tensors count is the
    caller's to say: every Linear's weight except lm_head, which are the ones that NF4 quantizes.
    """
    if base.shape != candidate.shape:
        raise ValueError(f"base has shape {tuple(base.shape)}, the candidate {tuple(candidate.shape)}")
    before, scale = searched(base)
    after, _ = searched(candidate)
    changed, flipped = base != candidate, before != after
    update = (candidate.float() - base.float())[changed].abs()
    ratio = update / widths(before, scale)[changed]
    places = ratio.contiguous().view(torch.int32) >> RATIO_SHIFT
    return GridCounts(
        weights=base.numel(),
        changed=int(changed.sum()),
        flipped=int(flipped.sum()),
        survived=int((changed & flipped).sum()),
        ratios=torch.bincount(places.cpu(), minlength=RATIO_BINS),
    )
