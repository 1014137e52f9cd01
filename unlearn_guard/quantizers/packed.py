"""The integer layouts that GPTQ and AWQ checkpoints share: eight 4-bit codes in an int32.

`weight[i, o] = scales[g(i), o] * (code[i, o] - zero[g(i), o])`, i the input and o the output channel.
GPTQ packs eight neighbouring inputs of one output, AWQ (GEMM) eight interleaved outputs of one input.
Read here independently of the library that wrote them, so that a reload can be held against them.
"""

from collections.abc import Mapping

import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.records import StoredTensor

_SHIFTS = torch.arange(0, 32, 4, dtype=torch.int32)
_AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]


def gptq_weight(files: Mapping[str, StoredTensor], layer: str) -> torch.Tensor:
    """The [in, out] fp32 weight that a GPTQ layer stands for. Its zero points are stored less one (format `gptq`)."""
    return _gptq(files, layer, less=1)


def gptq_v2_weight(files: Mapping[str, StoredTensor], layer: str) -> torch.Tensor:
    """The same in the format `gptq_v2`, which stores zero points as they are."""
    return _gptq(files, layer, less=0)


def _gptq(files: Mapping[str, StoredTensor], layer: str, *, less: int) -> torch.Tensor:
    packed, zeros = read_tensor(files, f"{layer}.qweight"), read_tensor(files, f"{layer}.qzeros")
    codes = ((packed[:, None, :] >> _SHIFTS[None, :, None]) & 15).reshape(-1, packed.shape[1])
    zero = ((zeros[:, :, None] >> _SHIFTS) & 15).reshape(zeros.shape[0], -1) + less
    group = read_tensor(files, f"{layer}.g_idx").long()
    return (codes - zero[group]) * read_tensor(files, f"{layer}.scales").float()[group]


def awq_weight(files: Mapping[str, StoredTensor], layer: str) -> torch.Tensor:
    """The [in, out] fp32 weight that an AWQ layer stands for."""
    packed, zeros = read_tensor(files, f"{layer}.qweight"), read_tensor(files, f"{layer}.qzeros")
    shifts = _SHIFTS[_AWQ_ORDER]
    codes = ((packed[:, :, None] >> shifts) & 15).reshape(packed.shape[0], -1)
    zero = ((zeros[:, :, None] >> shifts) & 15).reshape(zeros.shape[0], -1)
    group = torch.arange(codes.shape[0]) // (codes.shape[0] // zeros.shape[0])
    return (codes - zero[group]) * read_tensor(files, f"{layer}.scales").float()[group]


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
