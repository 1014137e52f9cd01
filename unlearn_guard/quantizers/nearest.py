"""Whether codes are the nearest ones to some weights, whoever rounded them.

Two implementations can disagree on a weight that lies on the boundary of two cells, to within what their arithmetic
loses of it. Everywhere else the code follows from the weight.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

EXACT = 2.0**-21
"""What float32 may lose of a number in a division and a product, twice over."""


def outside(scaled: Tensor, taken: Tensor, levels: Tensor, slack: float) -> Tensor:
    """Where a weight does not round to the level that its code stands for, bool, of `scaled`'s shape.

    `scaled` are weights in units of their scale, `taken` the levels of their codes, `levels` all there are, each once
    and in order. A weight beyond the outer levels takes the outer one. `slack` is the share of a weight that the
    arithmetic may have lost.
    """
    between = (levels[:-1] + levels[1:]) / 2
    edge = torch.tensor([torch.inf])
    low, high = torch.cat([-edge, between]), torch.cat([between, edge])
    place = torch.searchsorted(levels, taken.contiguous()).clamp(max=len(levels) - 1)
    lost = scaled.abs() * slack
    inside = (scaled + lost >= low[place]) & (scaled - lost <= high[place])
    return ~(inside & (levels[place] == taken))  # what is not a number, or no level, is outside


def lost_in(*dtypes: torch.dtype) -> float:
    """The share of a number that one division loses in the coarsest of these dtypes."""
    floating = [each for each in dtypes if each in (torch.float32, torch.float16, torch.bfloat16)]
    coarsest = max((torch.finfo(each).eps for each in floating), default=0.0)
    return max(EXACT, coarsest / 2 + EXACT)


def roundings(weight: Tensor) -> Iterator[Tensor]:
    """The weight as stored, and as loading it in half precision would leave it."""
    yield weight
    for dtype in (torch.bfloat16, torch.float16):
        if weight.is_floating_point() and dtype != weight.dtype:
            rounded = weight.to(dtype)
            if rounded.isfinite().all():
                yield rounded
