"""What an edit does on base's NF4 grid, as counts: of each layer, and of all |update| / bin width for their median."""

import torch
from torch import Tensor

from unlearn_guard.quantizers.grid import bin_width, codes
from unlearn_guard.records import RATIO_OCTAVES, LayerDrift

_SHIFT = 11  # float32 bits dropped when ratios are counted: 12 of the 23 mantissa bits stay
_BINS = 1 << (31 - _SHIFT)
_EXPONENTS = 256
_HELD = 2**21


class Ratios:
    """|update| / bin width of changed weights, in a fixed histogram over float32 bit patterns.

    Their order is that of the numbers: 2^20 bins, each less than one part in 4096 wide. One for a whole model, 8 MB.
    """

    def __init__(self, device: torch.device) -> None:
        self._bins = torch.zeros(_BINS, dtype=torch.int64, device=device)
        self._waiting: list[Tensor] = []

    def add(self, places: Tensor) -> None:
        """Count these; the histogram is gone over once in some two million, since that costs as much as they do."""
        self._waiting.append(places)
        if sum(each.numel() for each in self._waiting) >= _HELD:
            self._count()

    def _count(self) -> None:
        if self._waiting:
            self._bins += torch.bincount(torch.cat(self._waiting), minlength=_BINS)
            self._waiting.clear()

    def median(self) -> float | None:
        """None of none; of an even number the lower of the middle two; low by less than 1 in 4096.

        Infinite when the median update is of a weight in a block of zeros.
        """
        self._count()
        below = self._bins.cumsum(0)
        total = int(below[-1])
        if not total:
            return None
        place = torch.searchsorted(below, torch.tensor((total - 1) // 2, device=below.device), right=True)
        return (place << _SHIFT).to(torch.int32).view(torch.float32).item()


class Tally:
    """The counts of one layer, piece by piece, each piece whole blocks of 64 or the end of a matrix.

    A weight has changed if its stored value has. Its code can flip without that, when another weight of the block
    becomes the largest: such flips count in `flipped`, not in `survived`.
    """

    def __init__(self, ratios: Ratios) -> None:
        self._ratios = ratios
        self._weights = self._changed = self._flipped = self._survived = 0
        self._exponents = torch.zeros(_EXPONENTS, dtype=torch.int64)

    def add(self, base: Tensor, candidate: Tensor) -> None:
        """The same piece of base's weight and of the candidate's, flat, each in the dtype that it is stored in."""
        if base.shape != candidate.shape:
            raise ValueError(f"base has shape {tuple(base.shape)}, the candidate {tuple(candidate.shape)}")
        self._weights += base.numel()
        changed = base != candidate
        count = int(changed.sum())
        if not count:
            return  # equal values have equal codes
        before, after = base.float(), candidate.float()
        grid = codes(before)
        flipped = grid.code != codes(after).code
        self._changed += count
        self._flipped += int(flipped.sum())
        self._survived += int(flipped.logical_and_(changed).sum())
        ratio = (after - before).div_(bin_width(grid)).abs_()
        places = (ratio.view(torch.int32) >> _SHIFT)[changed]
        self._ratios.add(places)
        # The bins' 256 equal parts are the exponents, biased by 127.
        exponents = places >> (31 - _SHIFT - 8)
        self._exponents += torch.bincount(exponents, minlength=_EXPONENTS).cpu()

    def drift(self, layer: str) -> LayerDrift:
        """What was counted, the ratios by power of two: RATIO_OCTAVES of them, the outer two open."""
        low, high = RATIO_OCTAVES
        places = (torch.arange(_EXPONENTS) - 127).clamp(low, high) - low
        octaves = torch.zeros(high - low + 1, dtype=torch.int64).index_add_(0, places, self._exponents)
        return LayerDrift(
            layer=layer,
            weights=self._weights,
            changed=self._changed,
            flipped=self._flipped,
            survived=self._survived,
            ratios=tuple(octaves.tolist()),
        )
