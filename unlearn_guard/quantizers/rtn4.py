"""Plain rounding to 4-bit integers, symmetric: groups of 128 inputs, or the largest of 64 and 32 that divides."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.quantizers.protocol import largest_group
from unlearn_guard.quantizers.rounded import Rounded, Stored, per_group

_SHIFTS = torch.arange(0, 32, 4, dtype=torch.int32)


class RTN4(Rounded):
    """compressed-tensors' W4A16: code = round(w / s) from -8 to 7, s = the group's largest magnitude / 7.5."""

    name = "rtn4"
    bits = 4
    layout = "pack-quantized"
    levels = torch.arange(-8.0, 8.0)
    sizes: tuple[int, ...] = (128, 64, 32)

    def weights(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """4-bit integers, a scale a group."""
        group = largest_group(shapes, self.sizes) or self.sizes[-1]
        return {"num_bits": 4, "type": "int", "strategy": "group", "group_size": group}

    def encode(self, weight: Tensor, group: int) -> Stored:
        """Eight codes an int32, the first in the lowest bits, each plus 8; scales in the weight's own dtype."""
        grouped = per_group(weight, group)
        scale = (grouped.abs().amax(2) / 7.5).to(weight.dtype)
        scale = torch.where(scale == 0, torch.finfo(weight.dtype).eps, scale)
        code = (grouped / scale.float()[:, :, None]).round().clamp(-8, 7).reshape(weight.shape).int() + 8
        # Eight codes fill an int32 to its sign: summed in int64, then wrapped.
        words = (code.view(weight.shape[0], -1, 8).long() << _SHIFTS.long()).sum(2)
        packed = torch.where(words >= 2**31, words - 2**32, words).int()
        return {"weight_packed": packed, "weight_scale": scale, "weight_shape": torch.tensor(weight.shape)}

    def units(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """Codes less 8."""
        return (((stored["weight_packed"][:, :, None] >> _SHIFTS) & 15).reshape(shape) - 8).float()

    def scales(self, stored: Stored) -> Tensor:
        """As they are stored."""
        return stored["weight_scale"].float()


class RTN4Group64(RTN4):
    """The same in groups of 64."""

    name = "rtn4-64"
    sizes = (64,)


class RTN4Group32(RTN4):
    """The same in groups of 32."""

    name = "rtn4-32"
    sizes = (32,)
