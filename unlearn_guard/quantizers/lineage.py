"""Is an artifact of bitsandbytes this candidate's? NF4, FP4 and INT8 look at no data: codes follow from the weights.

People quantize after loading in another dtype, so that the weights may have been rounded to bf16 or fp16 first. Double
quantization rounds the scales, never the codes. Beyond that a code may differ only where two implementations can
disagree: on the boundary of two cells, to within the rounding of float32.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearn_guard.errors import Defect
from unlearn_guard.quantizers.coverage import Coverage
from unlearn_guard.quantizers.grid import BLOCK, LEVELS
from unlearn_guard.quantizers.layers import read_tensor, read_weight
from unlearn_guard.quantizers.nearest import EXACT, outside, roundings
from unlearn_guard.quantizers.share import find
from unlearn_guard.records import StoredTensor

SCALE_SLACK = 0.01
"""Half the widest gap of bitsandbytes' 8-bit map is 0.007 of a block's range: what double quantization rounds by."""

FP4_LEVELS = torch.tensor([0.0, 0.0052083333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25])
FP4_LEVELS = torch.cat([FP4_LEVELS, -FP4_LEVELS])
"""What a code of FP4 stands for, in units of the block's scale (bitsandbytes' `get_4bit_type`)."""

Files = Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """One weight of an artifact: a code for each element, and how far each block's scale may be off.

    `levels` are what the codes stand for, in units of the block's scale.
    """

    code: Tensor
    absmax: Tensor
    block: int
    nested: int | None
    levels: Tensor = field(default_factory=lambda: LEVELS)


def bitsandbytes_differences(precision: str, artifact: Files, candidate: Files, found: Coverage) -> Iterator[Defect]:
    """What in an artifact of bitsandbytes' formats cannot come from these weights, each by its name."""
    for name in found.units:
        weight = read_weight(candidate, name, found)
        if difference := _difference(precision, artifact, name, weight):
            yield Defect(where=name, found=difference, expected="what the candidate's weights give")


def _difference(precision: str, artifact: Files, name: str, weight: Tensor) -> str | None:
    read = read_rows if precision == "int8" else read_experts if weight.dim() == 3 else read_packed
    packed = read(artifact, name, FP4_LEVELS if precision == "fp4" else LEVELS)
    if packed is None:
        return f"no {precision} weights"
    if packed.code.numel() < weight.numel() or packed.block < 1:
        return f"codes of {packed.code.numel()} weights"
    halved = (each.half() if precision == "int8" else each for each in roundings(weight))  # its kernels take fp16
    codes, scales = min((count_wrong(packed, each) for each in halved), key=sum)
    return f"{codes} of {weight.numel()} codes and {scales} block scales of other weights" if codes + scales else None


def count_wrong(packed: Packed, weight: Tensor) -> tuple[int, int]:
    """How many codes, and how many scales, do not follow from a weight."""
    flat = weight.reshape(-1).float()
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % packed.block)).view(-1, packed.block)
    absmax = blocks.abs().amax(1)
    scaled = (blocks / absmax.clamp(min=1e-38)[:, None]).reshape(-1)[: flat.numel()]
    taken = packed.levels[packed.code[: flat.numel()].long()]
    wrong = int(outside(scaled, taken, packed.levels.unique(), EXACT).sum())
    if packed.absmax.shape != absmax.shape:
        return wrong, absmax.numel()
    allowed = EXACT * absmax
    if packed.nested is not None:
        centred = (absmax - absmax.mean()).abs()
        ranges = torch.nn.functional.pad(centred, (0, -len(centred) % packed.nested)).view(-1, packed.nested).amax(1)
        allowed = allowed + SCALE_SLACK * ranges.repeat_interleave(packed.nested)[: len(absmax)]
    return wrong, int((~((packed.absmax - absmax).abs() <= allowed)).sum())


def read_packed(files: Files, name: str, levels: Tensor = LEVELS) -> Packed | None:
    """A weight as bitsandbytes stores it in 4 bits, double quantization undone; None where it is not stored so."""
    kind = "fp4" if levels is FP4_LEVELS else "nf4"
    codes, state = find(files, name), find(files, f"{name}.quant_state.bitsandbytes__{kind}")
    scales, stored = find(files, f"{name}.absmax"), find(files, f"{name}.quant_map")
    if codes is None or state is None or scales is None or stored is None:
        return None
    if not torch.allclose(read_tensor(files, stored.name).float(), levels, rtol=0, atol=1e-6):
        return None
    said = json.loads(bytes(read_tensor(files, state.name).tolist()))
    absmax, nested = read_tensor(files, scales.name), None
    if absmax.dtype == torch.uint8:
        nested = int(said["nested_blocksize"])
        ranges = _read(files, f"{name}.nested_absmax").repeat_interleave(nested)[: len(absmax)]
        absmax = _read(files, f"{name}.nested_quant_map")[absmax.long()] * ranges + float(said["nested_offset"])
    code = _halves(read_tensor(files, codes.name))
    return Packed(code=code, absmax=absmax.float(), block=int(said["blocksize"]), nested=nested, levels=levels)


def read_experts(files: Files, name: str, levels: Tensor = LEVELS) -> Packed | None:
    """A stack of experts as this package stores it, one matrix after the other."""
    codes, scales = find(files, name), find(files, f"{name}.absmax")
    if codes is None or scales is None or codes.dtype != "U8":
        return None
    return Packed(
        code=_halves(read_tensor(files, codes.name)),
        absmax=read_tensor(files, scales.name).reshape(-1).float(),
        block=BLOCK,
        nested=None,
        levels=levels,
    )


def read_rows(files: Files, name: str, levels: Tensor) -> Packed | None:  # noqa: ARG001 - these have their own
    """A weight in LLM.int8(): a code from -127 to 127 a weight, a scale a row."""
    codes, scales = find(files, name), find(files, f"{name.removesuffix('.weight')}.SCB")
    if codes is None or scales is None or codes.dtype != "I8" or len(codes.shape) != 2:
        return None
    code, absmax = read_tensor(files, codes.name), read_tensor(files, scales.name).reshape(-1).float()
    return Packed(
        code=(code.reshape(-1).int() + 127).clamp(min=0),
        absmax=absmax,
        block=codes.shape[1],
        nested=None,
        levels=torch.arange(-127.0, 128.0) / 127,
    )


def _halves(stored: Tensor) -> Tensor:
    """The two codes of each byte, the first in the high half; `quant_storage` may be any dtype."""
    packed = stored.reshape(-1).view(torch.uint8)
    return torch.stack([packed >> 4, packed & 15], 1).reshape(-1)


def _read(files: Files, name: str) -> Tensor:
    stored = find(files, name)
    return read_tensor(files, stored.name if stored else name)
