"""Which modules of a transformers decoder are which: the only file here that knows architectures by name.

A model is refused unless its family is listed: one with residual multipliers or parallel blocks has the
same module names and another graph.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_guard.attribution.graph import Graph
from unlearn_guard.attribution.linear import check_gradients, dense_bias, dense_weight, is_linear
from unlearn_guard.errors import Defect, UsageError

SEPARATE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
FUSED = ("self_attn.qkv_proj",)
PRE_NORM = ("input_layernorm", "post_attention_layernorm")
# input norm, MLP norm, norm of the attention's output, norm of the MLP's output
SANDWICH = (
    "input_layernorm",
    "pre_feedforward_layernorm",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
)


@dataclass(frozen=True, slots=True)
class _Family:
    projections: tuple[str, ...] = SEPARATE
    norms: tuple[str, ...] = PRE_NORM
    unit_offset: bool = False  # the norm multiplies by 1 + weight


FAMILIES = {
    "llama": _Family(),
    "mistral": _Family(),
    "qwen2": _Family(),
    "qwen3": _Family(),
    "gemma": _Family(unit_offset=True),
    "gemma2": _Family(norms=SANDWICH, unit_offset=True),
    "gemma3_text": _Family(norms=SANDWICH, unit_offset=True),
    "phi3": _Family(projections=FUSED),
}


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMS norm: y = scale * x / sqrt(mean(x^2) + eps), computed in fp32."""

    module: nn.Module
    scale_D: Tensor
    eps: float

    def inverse_rms(self, x_BTD: Tensor) -> Tensor:
        """1 / sqrt(mean(x^2) + eps), [B, T, 1] in fp32."""
        return torch.rsqrt(x_BTD.float().square().mean(-1, keepdim=True) + self.eps)

    def pull_back(self, grad_BTD: Tensor, x_BTD: Tensor) -> Tensor:
        """Gradient with respect to the norm's input, given that of its output. fp32, closed form."""
        x, inverse = x_BTD.float(), self.inverse_rms(x_BTD)
        scaled = grad_BTD.float() * self.scale_D
        along = (scaled * x).mean(-1, keepdim=True)
        return torch.addcmul(scaled * inverse, x, along * inverse**3, value=-1)


@dataclass(frozen=True, slots=True)
class Projection:
    """The rows `start:stop` of a linear layer's output: queries, keys or values, fused or not."""

    module: nn.Module
    start: int
    stop: int

    def weight(self, like: Tensor) -> Tensor:
        """[stop - start, D]"""
        return dense_weight(self.module, like)[self.start : self.stop]

    def bias(self) -> Tensor | None:
        """[stop - start], or None."""
        bias = dense_bias(self.module)
        return None if bias is None else bias[self.start : self.stop]


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer's modules. `attention_out` and `mlp_out` are norms of what is added, where there are any."""

    block: nn.Module  # the layer itself; the first one's input is node `input`
    attention_norm: Norm
    projections: tuple[Projection, Projection, Projection]
    output: nn.Module
    output_weight: Tensor  # [D, H * head_dim], the parameter itself unless it was packed
    attention_out: Norm | None
    mlp_norm: Norm
    mlp: nn.Module  # its output is what the MLP adds to the residual stream


@dataclass(frozen=True, slots=True)
class Decoder:
    """A transformers model bound to the graph it computes."""

    model: nn.Module
    graph: Graph
    layers: tuple[Layer, ...]
    final_norm: Norm
    head_dim: int
    width: int


def decoder_of(model: nn.Module) -> Decoder:
    """Find the nodes and readers of a model. Raises UsageError naming what is missing, all at once."""
    family = _family(model)
    config: Any = model.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    _check_modules(model, family)
    like = next(p for p in model.parameters() if p.is_floating_point())
    check_gradients(model.model.layers, like)  # type: ignore[union-attr, arg-type]
    blocks = list(model.model.layers)  # type: ignore[union-attr, arg-type]
    sizes = (heads * head_dim, groups * head_dim, groups * head_dim)
    return Decoder(
        model=model,
        graph=Graph(layers=len(blocks), heads=heads, groups=groups),
        layers=tuple(_layer(block, family, sizes, like) for block in blocks),
        final_norm=_norm(model.model.norm, family),  # type: ignore[arg-type]
        head_dim=head_dim,
        width=config.hidden_size,
    )


def _family(model: nn.Module) -> _Family:
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if kind in FAMILIES:
        return FAMILIES[kind]
    absent = [path for path in ("model.layers", "model.norm", "lm_head") if _find(model, path) is None]
    what = f"no adapter, and no {', '.join(absent)}" if absent else "the usual module names, but no adapter"
    raise UsageError(
        f"attribution does not know how a {kind!r} model adds up its residual stream",
        [Defect(where="config.json: model_type", found=f"{kind!r}: {what}", expected="one of " + ", ".join(FAMILIES))],
        fix="A family is a line in unlearn_guard/attribution/architectures.py once the literal version agrees with it.",
    )


def _check_modules(model: nn.Module, family: _Family) -> None:
    wanted = (*family.projections, "self_attn.o_proj", "mlp", *family.norms)
    layers = _find(model, "model.layers")
    defects = [_missing(path) for path in ("model.layers", "model.norm", "lm_head") if _find(model, path) is None]
    for index, layer in enumerate(layers if isinstance(layers, nn.ModuleList) else ()):
        defects += [_missing(f"model.layers.{index}.{path}") for path in wanted if _find(layer, path) is None]
        output = _find(layer, "self_attn.o_proj")
        if "post_feedforward_layernorm" in family.norms and output is not None and dense_bias(output) is not None:
            where = f"model.layers.{index}.self_attn.o_proj.bias"
            defects.append(Defect(where=where, found="a bias under a norm", expected="none: it belongs to no head"))
    if layers is not None and not len(layers):  # type: ignore[arg-type]
        defects.append(Defect(where="model.layers", found="no layer", expected="at least one"))
    if defects:
        raise UsageError("the model lacks parts that attribution reads", defects)


def _missing(path: str) -> Defect:
    return Defect(where=path, found="no such module", expected="it, in this family")


def _find(module: nn.Module, path: str) -> nn.Module | None:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.Module) else None


def _layer(block: nn.Module, family: _Family, sizes: tuple[int, int, int], like: Tensor) -> Layer:
    norms = [_norm(getattr(block, name), family) for name in family.norms]
    sandwich = len(norms) == len(SANDWICH)
    output = block.self_attn.o_proj  # type: ignore[union-attr]
    return Layer(
        block=block,
        attention_norm=norms[0],
        projections=_projections(block, family, sizes),
        output=output,  # type: ignore[arg-type]
        output_weight=dense_weight(output, like).detach(),
        attention_out=norms[2] if sandwich else None,
        mlp_norm=norms[1],
        mlp=norms[3].module if sandwich else block.mlp,  # type: ignore[arg-type]
    )


def _projections(
    block: nn.Module, family: _Family, sizes: tuple[int, int, int]
) -> tuple[Projection, Projection, Projection]:
    modules = [_find(block, path) for path in family.projections]
    fused = len(modules) == 1
    made, start = [], 0
    for index, size in enumerate(sizes):
        module = modules[0 if fused else index]
        if module is None or not is_linear(module):
            raise UsageError(f"{family.projections[0 if fused else index]} is not a linear layer")
        made.append(Projection(module, start, start + size))
        start = start + size if fused else 0
    return made[0], made[1], made[2]


def _norm(module: nn.Module, family: _Family) -> Norm:
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    weight = getattr(module, "weight", None)
    if not isinstance(eps, float) or not isinstance(weight, Tensor):
        raise UsageError(f"{type(module).__name__} is not an RMS norm: it has no eps or no weight")
    norm = Norm(module, weight.detach().float() + float(family.unit_offset), eps)
    x_1D = torch.linspace(-1, 2, weight.numel(), device=weight.device)[None]
    with torch.no_grad():
        said, meant = module(x_1D.to(weight.dtype)).float(), x_1D * norm.inverse_rms(x_1D) * norm.scale_D
    if not torch.allclose(said, meant, atol=1e-4 if weight.dtype == torch.float32 else 5e-2, rtol=2e-2):
        raise UsageError(f"{type(module).__name__} does not compute an RMS norm; attribution has no closed form for it")
    return norm
