"""The integer layouts that GPTQ and AWQ checkpoints share: eight 4-bit codes in an int32.

`weight[i, o] = scales[g(i), o] * (code[i, o] - zero[g(i), o])`, i the input and o the output channel.
GPTQ packs eight neighbouring inputs of one output, AWQ (GEMM) eight interleaved outputs of one input.
Read here independently of the library that wrote them, so that a reload can be held against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.records import StoredTensor

_SHIFTS = torch.arange(0, 32, 4, dtype=torch.int32)
_AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]
_LAST = 15

Files = Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """A layer's codes, three matrices of one shape: what they stand for, and what one code more would add, in fp32.

    `inner` are the codes that are neither the first nor the last: no weight beyond the grid was cut down to them.
    """

    weight: torch.Tensor
    step: torch.Tensor
    inner: torch.Tensor

    @property
    def turned(self) -> "Grid":
        """The same with rows for columns."""
        return Grid(weight=self.weight.T, step=self.step.T, inner=self.inner.T)


def grid_of(code: torch.Tensor, zero: torch.Tensor, scale: torch.Tensor) -> Grid:
    """Codes from 0 to 15, the codes that stand for nothing, and steps, all of one shape."""
    return Grid(weight=(code - zero) * scale, step=scale, inner=(code > 0) & (code < _LAST))


def gptq_grid(files: Files, layer: str) -> Grid:
    """The codes of a GPTQ layer, [in, out]. Its zero points are stored less one (format `gptq`)."""
    return _gptq(files, layer, less=1)


def gptq_v2_grid(files: Files, layer: str) -> Grid:
    """The same in the format `gptq_v2`, which stores zero points as they are."""
    return _gptq(files, layer, less=0)


def _gptq(files: Files, layer: str, *, less: int) -> Grid:
    packed, zeros = read_tensor(files, f"{layer}.qweight"), read_tensor(files, f"{layer}.qzeros")
    code = ((packed[:, None, :] >> _SHIFTS[None, :, None]) & _LAST).reshape(-1, packed.shape[1])
    zero = ((zeros[:, :, None] >> _SHIFTS) & _LAST).reshape(zeros.shape[0], -1) + less
    group = read_tensor(files, f"{layer}.g_idx").long()
    return grid_of(code, zero[group], read_tensor(files, f"{layer}.scales").float()[group])


def awq_grid(files: Files, layer: str) -> Grid:
    """The codes of an AWQ layer, [in, out]."""
    packed, zeros = read_tensor(files, f"{layer}.qweight"), read_tensor(files, f"{layer}.qzeros")
    shifts = _SHIFTS[_AWQ_ORDER]
    code = ((packed[:, :, None] >> shifts) & _LAST).reshape(packed.shape[0], -1)
    zero = ((zeros[:, :, None] >> shifts) & _LAST).reshape(zeros.shape[0], -1)
    group = torch.arange(code.shape[0]) // (code.shape[0] // zeros.shape[0])
    return grid_of(code, zero[group], read_tensor(files, f"{layer}.scales").float()[group])


def compressed_grid(files: Files, layer: str) -> Grid:
    """The codes of a layer as compressed-tensors packs them (`pack-quantized`, llm-compressor's W4A16), [in, out].

    Eight neighbouring inputs of one output an int32, each code plus 8; zero points, where there are any, the same by
    outputs. `weight_g_idx` says which scale an input has, where they were ordered.
    """
    scales = read_tensor(files, f"{layer}.weight_scale").float().T
    packed = read_tensor(files, f"{layer}.weight_packed")
    code = ((packed[:, :, None] >> _SHIFTS) & _LAST).reshape(packed.shape[0], -1).T
    zero = torch.full_like(scales, 8.0)
    if f"{layer}.weight_zero_point" in files:
        stored = read_tensor(files, f"{layer}.weight_zero_point").T
        zero = stored.float() + 8
        if stored.dtype == torch.int32:
            zero = ((stored[:, :, None] >> _SHIFTS) & _LAST).reshape(stored.shape[0], -1).float()
    group = torch.arange(code.shape[0]) // max(1, code.shape[0] // scales.shape[0])
    if f"{layer}.weight_g_idx" in files and (order := read_tensor(files, f"{layer}.weight_g_idx").long()).min() >= 0:
        group = order
    if zero.shape != scales.shape or group.max() >= len(scales) or len(group) != len(code):
        raise QuantizationError(
            f"{layer}: scales {[*scales.shape]}, zero points {[*zero.shape]} of {[*code.shape]} codes"
        )
    return grid_of(code, zero[group], scales[group])


def assert_computes(layer: str, module: torch.nn.Module, weight: torch.Tensor, *, tolerance: float = 0.02) -> None:
    """A loaded layer maps eight random rows as its codes on disk say, within the kernel's own rounding.

    The CPU kernels keep scales in bf16: their error is about 0.5 % of the largest weight. A wrong
    zero point or a shuffled group is an error of the order of one.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(8, weight.shape[0], generator=generator)
    parameter = next((t for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()), None)
    device = next((t.device for t in [*module.parameters(), *module.buffers()]), torch.device("cpu"))
    dtype = torch.float32 if device.type == "cpu" or parameter is None else parameter.dtype
    bias = getattr(module, "bias", None)
    with torch.no_grad():
        found = module(rows.to(device=device, dtype=dtype)).float().cpu()
    expected = rows @ weight + (0 if bias is None else bias.detach().float().cpu())
    error = float((found - expected).norm() / expected.norm())
    if not error <= tolerance:
        raise QuantizationError(
            f"{layer}: reloaded, it differs from its codes on disk by {error:.2%} (allowed {tolerance:.0%})"
        )
