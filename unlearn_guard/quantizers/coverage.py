"""Which weights of a model a 4-bit format has to quantize, and which it may leave, from the config alone.

transformers 5 keeps the experts of a mixture in one parameter of three dimensions, which every 4-bit library passes
over without a word. So nothing is inferred from what a library did: each weight of two dimensions or more is either to
be in 4 bits, or stands on a short list of what all formats leave in full precision, or makes the model one that cannot
be measured at that precision, which is said before anything is loaded.
"""

import inspect
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from unlearn_guard.environment import with_attention
from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.quantizers.gguf_header import checkpoint_refusals
from unlearn_guard.quantizers.gguf_mix import PRECISIONS as LLAMA_CPP
from unlearn_guard.quantizers.protocol import largest_group

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAMED = 5
_CLIPPED_TOGETHER = 64
_UNCLIPPED = ("q_", "k_", "query", "key", "Wqkv")
"""What gptqmodel's AWQ processor does not clip, by parts of a module's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Every weight of two dimensions or more, once; a tied one under its first name.

    `linears` maps the name of a linear layer to (out, in), `experts` that of a stacked parameter to its shape, one
    matrix an expert. `transposed` are the layers that keep their weight as [in, out], `untouched` those that
    transformers' bitsandbytes integration passes over, with the reason. `kept` says why a weight stays in full
    precision in every format; `unknown` are those of which nobody can say it.
    """

    linears: Mapping[str, tuple[int, int]]
    transposed: frozenset[str]
    experts: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, str]
    unknown: Mapping[str, tuple[int, ...]]
    untouched: Mapping[str, str]
    total: int

    @property
    def units(self) -> tuple[str, ...]:
        """The parameters that are to be in 4 bits: linear layers, then experts."""
        return (*(f"{layer}.weight" for layer in self.linears), *self.experts)


def coverage(checkpoint: Path) -> Coverage:
    """The coverage of a checkpoint that passed intake; one model on torch's meta device a config."""
    return _of_config(checkpoint, (checkpoint / "config.json").read_bytes())


@lru_cache(maxsize=8)
def _of_config(checkpoint: Path, config: bytes) -> Coverage:  # noqa: ARG001 - the bytes make the key
    from transformers import AutoConfig, AutoModelForCausalLM

    found = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(with_attention(found), trust_remote_code=False)
    return coverage_of(model)


def coverage_of(model: "PreTrainedModel") -> Coverage:
    """The coverage of an unquantized model."""
    from transformers.pytorch_utils import Conv1D

    linears: dict[str, tuple[int, int]] = {}
    experts: dict[str, tuple[int, ...]] = {}
    kept: dict[str, str] = {}
    unknown: dict[str, tuple[int, ...]] = {}
    transposed: set[str] = set()
    outside, total, head = {"embedding", "output head"}, 0, model.get_output_embeddings()
    inside = _language_model(model)
    for name, weight, module in _weights(model):
        layer = name.removesuffix(".weight")
        reason = "output head" if module is head else _reason(name, weight, module)
        if reason is None and not name.startswith(inside) and type(module) is not torch.nn.Linear:
            reason = "outside the language model: pictures and sound are not asked"
        total += 0 if reason in outside else weight.numel()
        if reason is not None:
            kept[name] = reason
        elif isinstance(module, torch.nn.Linear):
            linears[layer] = (module.out_features, module.in_features)
        elif isinstance(module, Conv1D):
            linears[layer] = (weight.shape[1], weight.shape[0])
            transposed.add(layer)
        elif "Experts" in type(module).__name__ and weight.dim() == 3:
            experts[name] = tuple(weight.shape)
        else:
            unknown[name] = tuple(weight.shape)
    return Coverage(
        linears=linears,
        transposed=frozenset(transposed),
        experts=experts,
        kept=kept,
        unknown=unknown,
        untouched=_untouched(model, linears),
        total=total,
    )


def _weights(model: "PreTrainedModel") -> Iterator[tuple[str, torch.Tensor, torch.nn.Module]]:
    for name, weight in model.named_parameters():
        if weight.dim() >= 2:
            yield name, weight, model.get_submodule(name.rpartition(".")[0])


def _language_model(model: "PreTrainedModel") -> str:
    """What the names of the text decoder's weights begin with; empty where the model is nothing else."""
    decoder = model.get_decoder()
    found = next((name for name, module in model.named_modules() if module is decoder), "")
    return f"{found}." if found.count(".") else ""


def _reason(name: str, weight: torch.Tensor, module: torch.nn.Module) -> str | None:
    """Why every 4-bit format leaves this weight in full precision; None where none is known.

    The class of a module is transformers' own and never the checkpoint's, so its name can be relied on.
    """
    kind, leaf = type(module).__name__, name.rpartition(".")[2]
    if type(module) is torch.nn.Linear and leaf == "weight":
        return None  # a gate of one row too: bitsandbytes replaces it
    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if "Router" in kind and weight.dim() == 2:
        return "router"
    if leaf.endswith("bias"):
        return "bias"
    if isinstance(module, torch.nn.Conv1d) and module.groups == module.in_channels == module.out_channels:
        return "depthwise convolution"
    if leaf in ("A_log", "D"):
        return "decay of a state space"
    if leaf == "scale" or "Norm" in kind or weight.numel() == max(weight.shape):
        return "norm, scale or vector"
    return None


def _untouched(model: "PreTrainedModel", linears: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """The linear layers that `load_in_4bit` leaves as they are.

    It replaces layers whose class is nn.Linear itself or Conv1D, and none that is tied or that the class asks to
    keep in fp32.
    """
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    skipped = [*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ())]
    found = {}
    for name in linears:
        module = model.get_submodule(name)
        if type(module) is not torch.nn.Linear and not isinstance(module, Conv1D):
            found[name] = f"a {type(module).__name__}, which bitsandbytes does not replace"
        elif not should_convert_module(name, skipped):
            found[name] = "tied or kept in fp32 by its class, so that bitsandbytes does not replace it"
        elif _reads_weight(cast(Hashable, type(model.get_submodule(name.rpartition(".")[0]))), name.rpartition(".")[2]):
            found[name] = "its weight is read by the module around it, which cannot compute with packed codes"
    return found


@lru_cache(maxsize=256)
def _reads_weight(owner: Hashable, layer: str) -> bool:
    """Whether a module's own code computes with the weight of a layer inside it, as Mamba's scan does."""
    try:
        text = inspect.getsource(cast(type, owner))
    except (OSError, TypeError):
        return False
    return re.search(rf"self\.{re.escape(layer)}\.weight\s*(@|\))", text) is not None


def linear_shapes(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """Name -> (out, in) of every linear layer but the output head, in model order: what NF4, GPTQ and AWQ quantize."""
    return dict(coverage(checkpoint).linears)


_BITSANDBYTES = ("nf4", "nf4+adapter", "nf4-dq", "fp4", "int8")
_GROUPS = {
    **dict.fromkeys(("gptq", "awq", "rtn4"), (128, 64, 32)),
    **{"rtn4-64": (64,), "rtn4-32": (32,), "mxfp4": (32,), "nvfp4": (16,), "fp8": (1,), "fp8-tensor": (1,)},
}
"""The groups of inputs that a format can take; one of them has to divide every layer's width."""


def refusals(checkpoint: Path, precision: str) -> tuple[Defect, ...]:
    """Why this model cannot be measured at a precision; empty where it can, and for a third party's precision.

    A third party's format says itself, in its `recipe` or `quantize`, what it cannot do.
    """
    if precision in LLAMA_CPP:
        return checkpoint_refusals(checkpoint)
    found = coverage(checkpoint)
    stacked = _stacked(found) if precision not in ("nf4", "nf4+adapter") else ()
    if precision in _BITSANDBYTES:
        return (*_unknown(found), *stacked, *_not_replaced(found), *_nothing(found))
    if precision in _GROUPS:
        turned = _turned(found) if precision in ("gptq", "awq") else ()
        rows = _rows(found) if precision == "awq" else ()
        groups = _no_group(found, _GROUPS[precision])
        return (*_unknown(found), *stacked, *turned, *groups, *rows, *_nothing(found))
    return ()


def assert_quantizable(checkpoint: Path, location: str, precisions: Sequence[str]) -> None:
    """Refuse, before anything is measured, a model whose weights would not all be in 4 bits. UsageError."""
    defects = {precision: refusals(checkpoint, precision) for precision in precisions}
    bad = [precision for precision, found in defects.items() if found]
    if bad:
        left = [precision for precision in precisions if precision not in bad]
        raise UsageError(
            f"{location} cannot be checked at {', '.join(bad)}: some of its weights would be left out",
            [
                Defect(where=f"{precision}: {each.where}", found=each.found, expected=each.expected)
                for precision in bad
                for each in defects[precision]
            ],
            fix=f"Leave {' and '.join(bad)} out: --precisions {','.join(left) or 'full'}.",
        )


def named(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown


def _unknown(found: Coverage) -> Iterator[Defect]:
    if found.unknown:
        shapes = sorted({" x ".join(map(str, shape)) for shape in found.unknown.values()})
        yield Defect(
            where=named(list(found.unknown)),
            found=f"weights that are neither linear layers nor experts ({named(shapes)})",
            expected="weights that the format quantizes, or that every format leaves in full precision",
        )


def _not_replaced(found: Coverage) -> Iterator[Defect]:
    for reason in sorted(set(found.untouched.values())):
        layers = [name for name, why in found.untouched.items() if why == reason]
        yield Defect(where=named(layers), found=reason, expected="a linear layer in 4 bits")


def _stacked(found: Coverage) -> Iterator[Defect]:
    if found.experts:
        yield Defect(
            where=named(list(found.experts)),
            found="the experts of a mixture, stacked in one parameter, which this format leaves in full precision",
            expected="linear layers",
        )


def _turned(found: Coverage) -> Iterator[Defect]:
    if found.transposed:
        yield Defect(
            where=named([name for name in found.linears if name in found.transposed]),
            found="layers that keep their weight as [in, out] (Conv1D)",
            expected="linear layers",
        )


def _no_group(found: Coverage, sizes: tuple[int, ...]) -> Iterator[Defect]:
    if found.linears and largest_group(found.linears, sizes) is None:
        widths = sorted({width for _, width in found.linears.values()})
        choice = "128, 64 or 32" if len(sizes) > 1 else str(sizes[0])
        yield Defect(
            where="input widths", found=named(list(map(str, widths))), expected=f"a group of {choice} divides each"
        )


def _rows(found: Coverage) -> Iterator[Defect]:
    """The library looks for AWQ's clipping 64 outputs at a time, save in queries and keys, which it does not clip."""
    clipped = [name for name in found.linears if not any(word in _inside(name) for word in _UNCLIPPED)]
    odd = [name for name in clipped if found.linears[name][0] % _CLIPPED_TOGETHER]
    if odd:
        sizes = sorted({found.linears[name][0] for name in odd})
        yield Defect(
            where=named(odd),
            found=f"{named(list(map(str, sizes)))} outputs",
            expected=f"a multiple of {_CLIPPED_TOGETHER}, which gptqmodel's AWQ needs",
        )


def _inside(layer: str) -> str:
    """`model.layers.3.mlp.up_proj` is `mlp.up_proj` inside its layer."""
    parts = layer.split(".")
    return ".".join(parts[next((place for place, part in enumerate(parts, 1) if part.isdigit()), 0) :])


def _nothing(found: Coverage) -> Iterator[Defect]:
    if not found.linears and not found.experts:
        yield Defect(where="the model", found="no linear layer", expected="something to quantize")
