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


def depth(model: PreTrainedModel) -> int:
    """The number of layers. Raises UsageError for a model whose parameters name none."""
    found = {int(match[1]) for name in every(model) if (match := _LAYER.search(name))}
    if not found:
        raise UsageError(f"{type(model).__name__} has no parameters called layers.N: which layers it has is unknown")
    return max(found) + 1


def scaled(layer: int, of: int, model: PreTrainedModel) -> int:
    """The layer of this model that lies as deep as layer `layer` does in a model of `of` layers."""
    return min(depth(model) - 1, int((layer + 0.5) * depth(model) / of))


def in_layers(model: PreTrainedModel, layers: Collection[int]) -> tuple[str, ...]:
    """Every parameter of these layers."""
    return tuple(name for name in every(model) if (match := _LAYER.search(name)) and int(match[1]) in layers)


def mlps(model: PreTrainedModel, layers: Collection[int]) -> tuple[str, ...]:
    """The linear weights of these layers' MLPs."""
    return tuple(name for name in linears(model) if (match := _MLP.search(name)) and int(match[1]) in layers)


def linears(model: PreTrainedModel) -> tuple[str, ...]:
    """The weight of every linear layer but the head: what 4-bit formats quantize."""
    head = model.get_output_embeddings()
    return tuple(
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )


def layer_of(name: str) -> int | None:
    """The layer that a parameter belongs to, or None."""
    match = _LAYER.search(name)
    return int(match[1]) if match else None
