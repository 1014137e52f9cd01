"""NVFP4, weight only: groups of 16 four-bit floats under an e4m3 scale, and one fp32 scale a tensor (NVIDIA)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.quantizers import e2m1
from unlearn_guard.quantizers.fp8 import LARGEST
from unlearn_guard.quantizers.rounded import Rounded, Stored, per_group

_LEVEL = 6.0
_SMALLEST = 0.125
"""What compressed-tensors stores for the scale of a group of zeros."""


class NVFP4(Rounded):
    """compressed-tensors' NVFP4A16: the tensor's scale G puts its largest magnitude at 448 x 6, a group's is a share.

    w = level x scale / G, scale = e4m3(G x largest of the group / 6).
    """

    name = "nvfp4"
    bits = 4
    layout = "nvfp4-pack-quantized"

    def weights(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - one size
        """4-bit floats, an 8-bit scale for 16 of them."""
        return {
            "num_bits": 4,
            "type": "float",
            "strategy": "tensor_group",
            "group_size": 16,
            "scale_dtype": "torch.float8_e4m3fn",
            "zp_dtype": "torch.float8_e4m3fn",
        }

    def encode(self, weight: Tensor, group: int) -> Stored:
        """Two codes a byte, e4m3 scales, G."""
        grouped = per_group(weight, group)
        largest = grouped.abs().amax(2)
        whole = (LARGEST * _LEVEL / largest.max().clamp(min=torch.finfo(torch.float32).tiny)).reshape(1)
        whole = whole.nan_to_num(posinf=1.0)
        scale = (whole * (largest / _LEVEL)).clamp(max=LARGEST).to(torch.float8_e4m3fn)
        scale = torch.where(scale.float() == 0, _SMALLEST, scale.float()).to(torch.float8_e4m3fn)
        codes = e2m1.round_to_codes(grouped / (scale.float() / whole)[:, :, None])
        packed = e2m1.pack(codes.reshape(weight.shape))
        return {"weight_packed": packed, "weight_scale": scale, "weight_global_scale": whole}

    def decode(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """Level times the group's scale over the tensor's."""
        values = e2m1.to_values(e2m1.unpack(stored["weight_packed"]))
        scale = stored["weight_scale"].float() / stored["weight_global_scale"].float()
        return (values.view(shape[0], scale.shape[1], -1) * scale[:, :, None]).reshape(shape)
