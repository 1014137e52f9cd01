"""Is an NF4 artifact this candidate's? NF4 looks at no data, so its codes follow from the weights alone.

People quantize after loading in another dtype, so that the weights may have been rounded to bf16 or fp16 first. Double
quantization rounds the scales, never the codes. Beyond that a code may differ only where two implementations can
disagree: on the boundary of two cells, to within the rounding of float32.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_guard.errors import Defect
from unlearn_guard.quantizers.coverage import Coverage
from unlearn_guard.quantizers.grid import BOUNDARIES, LEVELS
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.quantizers.share import find
from unlearn_guard.records import StoredTensor

SLACK = 2.0**-22
"""What float32 may lose of a number below one in a division and a product, twice over."""

SCALE_SLACK = 0.01
"""Half the widest gap of bitsandbytes' 8-bit map is 0.007 of a block's range: what double quantization rounds by."""

_STATE = ".quant_state.bitsandbytes__nf4"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """One weight of an artifact: a code for each element, and how far each block's scale may be off."""

    code: Tensor
    absmax: Tensor
    block: int
    nested: int | None


def nf4_differences(
    artifact: Mapping[str, StoredTensor], candidate: Mapping[str, StoredTensor], found: Coverage
) -> tuple[Defect, ...]:
    """What in an NF4 artifact cannot come from these weights; at most a few, each by its name."""
    defects = []
    for name in candidate:
        layer = name.removesuffix(".weight")
        weight = read_tensor(candidate, name)
        if layer in found.linears:
            weight = weight.T.contiguous() if layer in found.transposed else weight
            difference = _difference(artifact, name, weight)
        else:
            difference = _other_values(artifact, name, weight)
        if difference:
            defects.append(Defect(where=name, found=difference, expected="what the candidate's weights give"))
        if len(defects) == 5:
            break
    return tuple(defects)


def _difference(artifact: Mapping[str, StoredTensor], name: str, weight: Tensor) -> str | None:
    packed = read_packed(artifact, name)
    if packed is None:
        return "no NF4 weights"
    if packed.code.numel() < weight.numel() or packed.block < 1:
        return f"codes of {packed.code.numel()} weights"
    wrong = [count_wrong(packed, each) for each in _roundings(weight)]
    fewest = min(wrong)
    if fewest == (0, 0):
        return None
    return f"{fewest[0]} of {weight.numel()} codes and {fewest[1]} block scales of other weights"


def count_wrong(packed: Packed, weight: Tensor) -> tuple[int, int]:
    """How many codes, and how many scales, do not follow from a weight."""
    flat = weight.reshape(-1).float()
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % packed.block)).view(-1, packed.block)
    absmax = blocks.abs().amax(1)
    scaled = (blocks / absmax.clamp(min=1e-38)[:, None]).reshape(-1)[: flat.numel()]
    ends = torch.cat([torch.tensor([-torch.inf]), BOUNDARIES, torch.tensor([torch.inf])])
    code = packed.code[: flat.numel()].int()
    outside = (scaled < ends[code] - SLACK) | (scaled > ends[code + 1] + SLACK)
    if packed.absmax.shape != absmax.shape:
        return int(outside.sum()), absmax.numel()
    allowed = SLACK * absmax
    if packed.nested is not None:
        centred = (absmax - absmax.mean()).abs()
        ranges = torch.nn.functional.pad(centred, (0, -len(centred) % packed.nested)).view(-1, packed.nested).amax(1)
        allowed = allowed + SCALE_SLACK * ranges.repeat_interleave(packed.nested)[: len(absmax)]
    return int(outside.sum()), int((~((packed.absmax - absmax).abs() <= allowed)).sum())


def read_packed(files: Mapping[str, StoredTensor], name: str) -> Packed | None:
    """A weight as bitsandbytes stores it, double quantization undone; None where it is not stored so."""
    codes, state = find(files, name), find(files, f"{name}{_STATE}")
    scales, levels = find(files, f"{name}.absmax"), find(files, f"{name}.quant_map")
    if codes is None or state is None or scales is None or levels is None:
        return None
    if not torch.allclose(read_tensor(files, levels.name).float(), LEVELS, rtol=0, atol=1e-6):
        return None
    said = json.loads(bytes(read_tensor(files, state.name).tolist()))
    packed = read_tensor(files, codes.name).reshape(-1).view(torch.uint8)  # quant_storage may be any dtype
    code = torch.stack([packed >> 4, packed & 15], 1).reshape(-1)
    absmax, nested = read_tensor(files, scales.name), None
    if absmax.dtype == torch.uint8:
        nested = int(said["nested_blocksize"])
        ranges = _read(files, f"{name}.nested_absmax").repeat_interleave(nested)[: len(absmax)]
        absmax = _read(files, f"{name}.nested_quant_map")[absmax.long()] * ranges + float(said["nested_offset"])
    return Packed(code=code, absmax=absmax.float(), block=int(said["blocksize"]), nested=nested)


def _read(files: Mapping[str, StoredTensor], name: str) -> Tensor:
    stored = find(files, name)
    return read_tensor(files, stored.name if stored else name)


def _roundings(weight: Tensor) -> Iterator[Tensor]:
    """The weight as stored, and as loading it in half precision would leave it."""
    yield weight
    for dtype in (torch.bfloat16, torch.float16):
        rounded = weight.to(dtype)
        if dtype != weight.dtype and rounded.isfinite().all():
            yield rounded


def _other_values(artifact: Mapping[str, StoredTensor], name: str, weight: Tensor) -> str | None:
    """Whether a tensor that is in no 4 bits holds other values; one that is not there is the loader's to miss."""
    stored = find(artifact, name)
    if stored is None:
        return None
    theirs = read_tensor(artifact, stored.name)
    if any(torch.equal(each.to(theirs.dtype), theirs) for each in _roundings(weight)):
        return None
    return "other values than the candidate's"
