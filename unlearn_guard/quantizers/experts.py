"""The experts of a mixture at NF4: bitsandbytes' own kernels on the stacked parameter, one matrix an expert.

transformers' integration packs linear layers and leaves these in full precision. Their codes are kept in a file of
their own beside what it saves, under the model's names: `NAME` holds one row of packed codes an expert, `NAME.absmax`
one row of block scales. The model's own file does not hold them, so that nothing loads them by half.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.grid import BLOCK
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.records import StoredTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE = "experts.safetensors"


def pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [experts, bytes] and block scales [experts, blocks]; no block reaches over two experts."""
    from bitsandbytes.functional import quantize_4bit

    packed = [quantize_4bit(each.contiguous(), blocksize=BLOCK, quant_type="nf4") for each in weight.unbind()]
    codes = torch.stack([codes.flatten() for codes, _ in packed])
    return codes, torch.stack([state.absmax for _, state in packed])


def unpack(codes: Tensor, absmax: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The weights that the codes stand for, in the dtype that they are to be computed with."""
    from bitsandbytes.functional import QuantState, dequantize_4bit, get_4bit_type

    levels = get_4bit_type("nf4", device=codes.device)
    size = torch.Size(shape[1:])
    weights = []
    for code, scale in zip(codes, absmax, strict=True):
        state = QuantState(scale, shape=size, code=levels, blocksize=BLOCK, quant_type="nf4", dtype=dtype)
        weights.append(dequantize_4bit(code[:, None], state))
    return torch.stack(weights)


class Packed(nn.Module):
    """What stands in for a stacked parameter: its codes, and its weights whenever they are asked for."""

    absmax: Tensor

    def __init__(self, absmax: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("absmax", absmax)
        self.shape, self.dtype = shape, dtype

    @torch.no_grad()
    def forward(self, codes: Tensor) -> Tensor:
        """The dequantized weights."""
        return unpack(codes, self.absmax, self.shape, self.dtype)


def take_out(model: "PreTrainedModel", names: Iterable[str]) -> dict[str, Tensor]:
    """Quantize these parameters and take them off the model, one at a time; what `write` writes."""
    taken: dict[str, Tensor] = {}
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        codes, absmax = pack(getattr(module, leaf).data)
        taken |= {name: codes.cpu(), f"{name}.absmax": absmax.cpu()}
        delattr(module, leaf)
    return taken


def write(taken: Mapping[str, Tensor], directory: Path) -> None:
    """The codes and scales, in a file of their own; none where there are no experts."""
    if taken:
        save_file(dict(taken), directory / FILE, metadata={"format": "pt"})


def put_in(
    model: "PreTrainedModel",
    files: Mapping[str, StoredTensor],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
) -> None:
    """Give the model its experts back, packed: each parameter is dequantized once a pass over its module."""
    owners: dict[str, nn.Module] = {}
    for name, shape in shapes.items():
        owner, _, leaf = name.rpartition(".")
        owners[owner] = module = model.get_submodule(owner)
        device = getattr(module, leaf).device
        codes, absmax = read_tensor(files, name), read_tensor(files, f"{name}.absmax")
        size = shape[1] * shape[2]
        expected = ((shape[0], -(-size // 2)), (shape[0], -(-size // BLOCK)))
        if (tuple(codes.shape), tuple(absmax.shape)) != expected or codes.dtype != torch.uint8:
            raise QuantizationError(f"{name}: its codes are not those of a parameter of shape {list(shape)}")
        setattr(module, leaf, nn.Parameter(codes.to(device), requires_grad=False))
        packed = Packed(absmax.to(device), shape, dtype)
        parametrize.register_parametrization(module, leaf, packed, unsafe=True)
    for module in owners.values():
        _unpack_once(module)


def _unpack_once(module: nn.Module) -> None:
    """Keep what was unpacked until the end of the pass: experts read their parameter once an expert."""
    entered: list[AbstractContextManager[None]] = []

    def before(*_: Any) -> None:
        entered.append(parametrize.cached())
        entered[-1].__enter__()

    def after(*_: Any) -> None:
        if entered:
            entered.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after, always_call=True)
