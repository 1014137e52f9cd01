"""The sixteen 4-bit floats of one mantissa bit, which MXFP4 and NVFP4 share: their levels, rounding and packing."""

import torch
from torch import Tensor

LEVELS = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
"""Codes 0 to 7; 8 to 15 are the same with a minus."""

ORDERED = torch.cat([-LEVELS[1:].flip(0), LEVELS])
"""What the codes stand for, each once and in order."""

_BETWEEN = (LEVELS[:-1] + LEVELS[1:]) / 2


def round_to_codes(scaled: Tensor) -> Tensor:
    """The nearest code of each number, uint8; halfway the even code, beyond 6 the code of 6."""
    size = scaled.abs().contiguous()
    code = torch.bucketize(size, _BETWEEN)  # halfway: the lower
    code = code + ((size == _BETWEEN[code.clamp(max=6)]) & (code % 2 == 1)).to(code.dtype)
    return (code + 8 * scaled.signbit().to(code.dtype)).to(torch.uint8)


def to_values(codes: Tensor) -> Tensor:
    """What codes stand for, fp32."""
    return torch.cat([LEVELS, -LEVELS])[codes.long()]


def pack(codes: Tensor) -> Tensor:
    """Two codes of a row a byte, the first in the low half."""
    pairs = codes.view(codes.shape[0], -1, 2)
    return pairs[:, :, 0] | (pairs[:, :, 1] << 4)


def unpack(packed: Tensor) -> Tensor:
    """The codes of packed rows."""
    return torch.stack([packed & 15, packed >> 4], 2).reshape(packed.shape[0], -1)
