"""MXFP4, weight only: groups of 32 four-bit floats under a power of two (OCP Microscaling, arXiv 2310.10537)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.quantizers import e2m1
from unlearn_guard.quantizers.rounded import Rounded, Stored, per_group

_BIAS = 127
_ABOVE = 2
"""6, the largest level, is 1.5 x 2^2."""


class MXFP4(Rounded):
    """compressed-tensors' MXFP4A16.

    The scale is 2^(e - 2), e the exponent of the group's largest magnitude, one more where that is at least 1.75 x 2^e
    (llm-compressor's rule; the OCP paper clips there).
    """

    name = "mxfp4"
    bits = 4
    layout = "mxfp4-pack-quantized"
    levels = e2m1.ORDERED

    def weights(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - one size
        """4-bit floats, an exponent for 32 of them."""
        return {
            "num_bits": 4,
            "type": "float",
            "strategy": "group",
            "group_size": 32,
            "scale_dtype": "torch.uint8",
            "zp_dtype": "torch.uint8",
        }

    def encode(self, weight: Tensor, group: int) -> Stored:
        """Two codes a byte, exponents as uint8 less 127."""
        grouped = per_group(weight, group)
        fraction, exponent = torch.frexp(grouped.abs().amax(2))  # fraction in [0.5, 1): exponent is e + 1
        power = torch.where(fraction == 0, 0, exponent - 1 + (fraction >= 0.875).int() - _ABOVE)
        power = power.clamp(-_BIAS, 127)
        codes = e2m1.round_to_codes(grouped / torch.exp2(power.float())[:, :, None])
        stored = (power + _BIAS).to(torch.uint8)
        return {"weight_packed": e2m1.pack(codes.reshape(weight.shape)), "weight_scale": stored}

    def units(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """The 4-bit floats."""
        return e2m1.to_values(e2m1.unpack(stored["weight_packed"])).reshape(shape)

    def scales(self, stored: Stored) -> Tensor:
        """Powers of two."""
        return torch.exp2(stored["weight_scale"].float() - _BIAS)

    def other_scales(self, stored: Stored, weight: Tensor, group: int, slack: float, least: float) -> Tensor:
        """Three rules are published: this one, the OCP paper's (one less at its turn), and one that never clips."""
        power = stored["weight_scale"].int() - self.encode(weight, group)["weight_scale"].int()
        fraction = torch.frexp(per_group(weight, group).abs().amax(2))[0]
        turned = fraction >= 0.875 * (1 - slack)
        above = (fraction > 0.75 * (1 - slack)) & (fraction < 0.875 * (1 + slack))
        clipped = torch.full_like(turned, least < 1.0)
        return ~((power == 0) | ((power == -1) & (turned | clipped)) | ((power == 1) & above))
