"""Linear layers whose weights are packed: read the weight, check the gradient, or make them ordinary.

GPTQ's and AWQ's kernels are x -> W x + b: whatever the packing, W is what the module does to the unit vectors.
bitsandbytes' Linear4bit is unpacked by its own library instead: on a CPU with AVX512-BF16 its inference
kernel rounds, and gives no gradient.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from unlearn_guard.errors import Defect, UsageError

_PROBE_ROWS = 1024


def is_linear(module: nn.Module) -> bool:
    """True for nn.Linear and for anything that says in_features and out_features as it does."""
    return all(isinstance(getattr(module, name, None), int) for name in ("in_features", "out_features"))


def is_packed(module: Any) -> bool:
    """True for a linear layer that keeps its weight in some other form than nn.Linear's matrix."""
    weight: Any = getattr(module, "weight", None)
    dense = isinstance(weight, Tensor) and weight.is_floating_point()
    return is_linear(module) and not (
        isinstance(module, nn.Linear) and dense and weight.shape == (module.out_features, module.in_features)
    )


@torch.no_grad()
def dense_weight(module: Any, like: Tensor) -> Tensor:
    """W [out, in] of a linear layer, in `like`'s dtype and on its device if it has to be unpacked.

    An nn.Linear gives its own parameter, without a copy.
    """
    if not is_packed(module):
        weight: Tensor = module.weight
        return weight
    if getattr(module.weight if hasattr(module, "weight") else None, "quant_state", None) is not None:
        return _dequantized(module).to(like)
    width = module.in_features
    columns = []
    nothing = module(like.new_zeros(1, 1, width))
    for start in range(0, width, _PROBE_ROWS):
        rows = torch.arange(start, min(start + _PROBE_ROWS, width), device=like.device)
        unit = nn.functional.one_hot(rows, width).to(like.dtype)
        columns.append((module(unit[None]) - nothing)[0])
    return torch.cat(columns).T.contiguous()


def _dequantized(module: Any) -> Tensor:
    """What bitsandbytes says its packed weight stands for."""
    from bitsandbytes.functional import dequantize_4bit

    module.state_dict()  # undoes, in place, the packing for inference that a forward pass on a CPU may have done
    weight: Tensor = dequantize_4bit(module.weight.data, module.weight.quant_state)
    return weight


def dense_bias(module: nn.Module) -> Tensor | None:
    """The bias that every output carries, or None where there is none."""
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) and bias.numel() else None


def packed_linears(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and module of each linear layer with a packed weight."""
    return ((name, module) for name, module in model.named_modules() if is_packed(module))


def check_gradients(model: nn.Module, like: Tensor) -> None:
    """Raises UsageError if a packed layer does not pass the gradient of its input on.

    An inference kernel that returns a constant to autograd would leave the residual path alone in the
    gradient, and every score plausible and wrong. A layer is linear, so <v, f(x) - f(0)> = <f'v, x>.
    """
    broken = [
        Defect(where=name, found=f"{type(module).__name__}, whose gradient is {found}", expected="that of W x + b")
        for name, module in packed_linears(model)
        if (found := _gradient_fault(module, like))
    ]
    if broken:
        fix = (
            "These kernels only infer. Call attribution.linear.make_dense(model) first: same weights, ordinary layers."
        )
        raise UsageError("attribution needs gradients that this quantized model does not give", broken, fix=fix)


def _gradient_fault(module: Any, like: Tensor) -> str | None:
    generator = torch.Generator().manual_seed(0)
    x_1TI = torch.randn(1, 2, module.in_features, generator=generator).to(like)
    x_1TI.requires_grad_()
    with torch.no_grad():
        nothing_1TO = module(torch.zeros_like(x_1TI))  # first, as some kernels repack on a pass without gradients
    with torch.enable_grad():
        try:
            y_1TO = module(x_1TI)
        except RuntimeError as error:
            return f"an error ({error})"
        if not y_1TO.requires_grad:
            return "missing"
        v_1TO = torch.randn(y_1TO.shape, generator=generator).to(y_1TO)
        (grad,) = torch.autograd.grad(y_1TO, x_1TI, v_1TO, allow_unused=True)
    if grad is None:
        return "missing"
    with torch.no_grad():
        change = (v_1TO.double() * (y_1TO - nothing_1TO).double()).sum()
        predicted = (grad.double() * x_1TI.double()).sum()
        size = (v_1TO.double().norm() * y_1TO.double().norm()).clamp_min(1e-30)
    slack = 1e-3 if like.dtype == torch.float32 else 3e-2
    return None if abs(change - predicted) <= slack * size else "wrong"


def make_dense(model: nn.Module) -> list[str]:
    """Replace every packed linear layer by an nn.Linear with the weights it stands for; returns their names.

    A parameter that is packed in place, as a stack of experts is, becomes an ordinary one.

    In place. The answers are those of the quantized model; the memory is that of the unpacked one.
    """
    like = next(p for p in model.parameters() if p.is_floating_point())
    replaced = []
    for name, module in list(packed_linears(model)):
        bias = dense_bias(module)
        plain = nn.Linear(module.in_features, module.out_features, bias=bias is not None, device="meta")
        plain.weight = nn.Parameter(dense_weight(module, like), requires_grad=False)
        if bias is not None:
            plain.bias = nn.Parameter(bias.detach().to(like), requires_grad=False)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)
        replaced.append(name)
    for name, module in [(name, module) for name, module in model.named_modules() if is_parametrized(module)]:
        for parameter in list(module.parametrizations):
            _unpack(module, parameter)
            replaced.append(f"{name}.{parameter}")
    return replaced


@torch.no_grad()
def _unpack(module: nn.Module, name: str) -> None:
    """Put the weight that a packed parameter stands for in its place, as with the experts of a mixture at NF4."""
    weight = getattr(module, name).detach()
    remove_parametrizations(module, name, leave_parametrized=False)
    setattr(module, name, nn.Parameter(weight, requires_grad=False))
