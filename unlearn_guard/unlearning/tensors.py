"""Which tensors a method trains, by name. Layers are counted from 0."""

import re
from collections.abc import Collection

import torch
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError

_LAYER = re.compile(r"\blayers\.(\d+)\.")
_MLP = re.compile(r"\blayers\.(\d+)\.mlp\.")


def every(model: PreTrainedModel) -> tuple[str, ...]:
    """Every parameter; a tied one once."""
    return tuple(name for name, _ in model.named_parameters())


def factors(model: PreTrainedModel) -> tuple[str, ...]:
    """The low-rank factors of a LoRA adapter that is on the model; none where there is no adapter."""
    return tuple(name for name in every(model) if ".lora_A." in name or ".lora_B." in name)


def depth(model: PreTrainedModel) -> int:
    """The number of layers. Raises UsageError for a model whose parameters name none."""
    found = {int(match[1]) for name in every(model) if (match := _LAYER.search(name))}
    if not found:
        raise UsageError(f"{type(model).__name__} has no parameters called layers.N: which layers it has is unknown")
    return max(found) + 1


def scaled(layer: int, of: int, model: PreTrainedModel) -> int:
    """The layer of this model that lies as deep as layer `layer` does in a model of `of` layers."""
    return min(depth(model) - 1, int((layer + 0.5) * depth(model) / of))


def share(count: int, of: int, model: PreTrainedModel) -> int:
    """How many layers of this model are as large a part of it as `count` are of `of`; at least 1."""
    return max(1, round(count * depth(model) / of))


def layer_name(model: PreTrainedModel, layer: int) -> str:
    """The name of a layer's module. Raises UsageError where the model has no such layer."""
    for name in every(model):
        match = _LAYER.search(name)
        if match and int(match[1]) == layer:
            return name[: match.end() - 1]
    raise UsageError(f"{type(model).__name__} has layers 0 to {depth(model) - 1}, not {layer}")


def at_end(model: PreTrainedModel, layers: int) -> tuple[str, ...]:
    """Every parameter of the last layers, of the final norm, and of the head, embeddings that are tied to it included.

    Input embeddings of their own are left out.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    kept = depth(model) - layers
    return tuple(
        name
        for name, one in model.named_parameters()
        if ((layer := layer_of(name)) is not None and layer >= kept)
        or (layer is None and (one is head.weight or one is not embeddings.weight))
    )


def downs(model: PreTrainedModel, layers: Collection[int]) -> tuple[str, ...]:
    """The weight of each of these layers' down-projections. Raises UsageError for a model that names none so."""
    found = tuple(name for name in mlps(model, layers) if name.endswith(".mlp.down_proj.weight"))
    if len(found) != len(set(layers)):
        raise UsageError(f"{type(model).__name__} has no mlp.down_proj in each of the layers {sorted(layers)}")
    return found


def in_layers(model: PreTrainedModel, layers: Collection[int]) -> tuple[str, ...]:
    """Every parameter of these layers."""
    return tuple(name for name in every(model) if (match := _LAYER.search(name)) and int(match[1]) in layers)


def mlps(model: PreTrainedModel, layers: Collection[int]) -> tuple[str, ...]:
    """The linear weights of these layers' MLPs."""
    return tuple(name for name in linears(model) if (match := _MLP.search(name)) and int(match[1]) in layers)


def linears(model: PreTrainedModel) -> tuple[str, ...]:
    """The weight of every linear layer but the head, and a mixture's stacks of experts: what 4-bit formats quantize."""
    head = model.get_output_embeddings()
    return tuple(
        f"{name}.{weight}"
        for name, module in model.named_modules()
        if module is not head
        for weight in _quantized(module)
    )


def _quantized(module: torch.nn.Module) -> tuple[str, ...]:
    """A module's own weights that 4-bit formats quantize: of a linear layer one, of experts a matrix each, stacked."""
    if isinstance(module, torch.nn.Linear):
        return ("weight",)
    if "Experts" in type(module).__name__:
        return tuple(name for name, one in module.named_parameters(recurse=False) if one.dim() == 3)
    return ()


def layer_of(name: str) -> int | None:
    """The layer that a parameter belongs to, or None."""
    match = _LAYER.search(name)
    return int(match[1]) if match else None
