"""NVFP4, weight only: groups of 16 four-bit floats under an e4m3 scale, and one fp32 scale a tensor (NVIDIA)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.quantizers import e2m1
from unlearn_guard.quantizers.fp8 import E4M3, LARGEST
from unlearn_guard.quantizers.nearest import outside
from unlearn_guard.quantizers.rounded import Rounded, Stored, per_group

_LEVEL = 6.0
_SMALLEST = 0.125
"""What compressed-tensors stores for the scale of a group of zeros."""
_SHARED = 64.0
"""How much smaller a layer's own largest weight may be than that of the layers it shares G with."""
_STEP = 1 / 16
"""Half the widest step between e4m3 numbers, as a share."""


class NVFP4(Rounded):
    """compressed-tensors' NVFP4A16: the tensor's scale G puts its largest magnitude at 448 x 6, a group's is a share.

    w = level x scale / G, scale = e4m3(G x largest of the group / 6).
    """

    name = "nvfp4"
    bits = 4
    layout = "nvfp4-pack-quantized"
    levels = e2m1.ORDERED

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

    def encode(self, weight: Tensor, group: int, whole: Tensor | None = None) -> Stored:
        """Two codes a byte, e4m3 scales, G; or what they are under another layer's G."""
        grouped = per_group(weight, group)
        largest = grouped.abs().amax(2)
        if whole is None:
            whole = (LARGEST * _LEVEL / largest.max().clamp(min=torch.finfo(torch.float32).tiny)).reshape(1)
            whole = whole.nan_to_num(posinf=1.0)
        scale = (whole * (largest / _LEVEL)).clamp(max=LARGEST).to(torch.float8_e4m3fn)
        scale = torch.where(scale.float() == 0, _SMALLEST, scale.float()).to(torch.float8_e4m3fn)
        codes = e2m1.round_to_codes(grouped / (scale.float() / whole)[:, :, None])
        packed = e2m1.pack(codes.reshape(weight.shape))
        return {"weight_packed": packed, "weight_scale": scale, "weight_global_scale": whole}

    def units(self, stored: Stored, shape: tuple[int, int]) -> Tensor:
        """The 4-bit floats."""
        return e2m1.to_values(e2m1.unpack(stored["weight_packed"])).reshape(shape)

    def scales(self, stored: Stored) -> Tensor:
        """The group's scale over the tensor's."""
        return stored["weight_scale"].float() / stored["weight_global_scale"].float()

    def other_scales(self, stored: Stored, weight: Tensor, group: int, slack: float, least: float) -> Tensor:
        """Each is the nearest e4m3 number under the file's G.

        llm-compressor gives layers that are computed together (queries, keys, values) the least G of them.
        """
        whole = stored["weight_global_scale"].float()
        own = self.encode(weight, group)["weight_global_scale"]
        held = stored["weight_scale"].float()
        if not own / _SHARED <= whole <= own * (1 + slack):
            return torch.ones_like(held, dtype=torch.bool)
        wanted = whole * per_group(weight, group).abs().amax(2) / _LEVEL
        wrong = outside(wanted, held, E4M3, slack)
        wrong &= held != self.encode(weight, group, whole)["weight_scale"].float()  # the smallest of all
        return wrong & ~((held >= wanted * least * (1 - _STEP)) & (held <= wanted) & (least < 1.0))
