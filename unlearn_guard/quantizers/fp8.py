"""FP8 (e4m3), weight only: a scale an output channel, or one a tensor (arXiv 2209.05433)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.quantizers.rounded import Rounded, Stored

LARGEST = 448.0
"""The largest e4m3 number."""

_EVERY = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
E4M3 = _EVERY[_EVERY.isfinite()].unique()
"""Every e4m3 number, in order."""


class FP8(Rounded):
    """compressed-tensors' FP8 by channel: w / s rounded to e4m3, s = the row's largest magnitude / 448."""

    name = "fp8"
    bits = 8
    layout = "float-quantized"
    levels = E4M3
    strategy = "channel"

    def weights(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - no group
        """8-bit floats."""
        return {"num_bits": 8, "type": "float", "strategy": self.strategy}

    def encode(self, weight: Tensor, group: int) -> Stored:  # noqa: ARG002 - no group
        """The e4m3 numbers, and scales in the weight's own dtype."""
        size = weight.float().abs()
        largest = size.amax(1, keepdim=True) if self.strategy == "channel" else size.max().reshape(1)
        scale = (largest / LARGEST).to(weight.dtype)
        scale = torch.where(scale == 0, torch.finfo(weight.dtype).eps, scale)
        rounded = (weight.float() / scale.float()).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
        return {"weight": rounded, "weight_scale": scale}

    def units(self, stored: Stored, shape: tuple[int, int]) -> Tensor:  # noqa: ARG002 - stored as it is
        """The e4m3 numbers."""
        return stored["weight"].float()

    def scales(self, stored: Stored) -> Tensor:
        """One a row, or one in all."""
        return stored["weight_scale"].float().reshape(-1, 1)


class FP8Tensor(FP8):
    """The same with one scale a tensor."""

    name = "fp8-tensor"
    strategy = "tensor"
