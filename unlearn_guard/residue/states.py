"""The residual stream of a decoder: read after its layers, and put in the place of another one's.

Nothing here knows an architecture: a decoder's layers are the list of modules as long as its config says, and what
comes after the last of them (norm, head, soft caps) is the model's own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_guard.errors import MeasurementError, UsageError

MOST_LAYERS = 16
"""Of a deeper model that many are looked at, evenly spaced, the last among them: each costs a pass over all items."""

Ask = Callable[[nn.Module], tuple[float, ...]]
"""Puts a fixed list of questions to a model, always in the same batches; each item's share of the task's metric."""

States = dict[int, list[Tensor]]
"""By layer, what left it: one [B, T, D] a forward pass, in the order of the passes, on the CPU."""


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The decoder's layers, first to last. Raises UsageError where the model has no such list."""
    config: Any = model.config
    count = getattr(getattr(config, "text_config", None) or config, "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UsageError(
        f"{type(model).__name__} has no list of {count} layers, so nothing can be read or put between them"
    )


def looked_at(model: nn.Module) -> tuple[int, ...]:
    """The layers that are tried, numbered from 0."""
    count = len(layers_of(model))
    if count <= MOST_LAYERS:
        return tuple(range(count))
    return tuple(round((step + 1) * count / MOST_LAYERS) - 1 for step in range(MOST_LAYERS))


@contextmanager
def recorded(model: nn.Module, layers: Sequence[int]) -> Iterator[States]:
    """What leaves these layers in each forward pass while the block runs."""
    states: States = {layer: [] for layer in layers}

    def keep(layer: int) -> Callable[..., None]:
        return lambda _, __, output: states[layer].append(_stream(output).detach().cpu())

    blocks = layers_of(model)
    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(model: nn.Module, layer: int, states: Sequence[Tensor]) -> Iterator[None]:
    """Each forward pass goes on after `layer` from the next of these states, at every position.

    Raises MeasurementError where the passes are not those that the states were read in.
    """
    left = iter(states)

    def put(_: nn.Module, __: object, output: Any) -> Any:
        old, new = _stream(output), next(left, None)
        if new is None or new.shape != old.shape:
            raise MeasurementError("the questions were not put in the batches in which the states were read")
        new = new.to(old)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = layers_of(model)[layer].register_forward_hook(put)
    try:
        yield
        if next(left, None) is not None:
            raise MeasurementError("fewer questions were put than states were read")
    finally:
        handle.remove()


def at_the_end(model: nn.Module, sequences: Sequence[Sequence[int]], layers: Sequence[int]) -> Tensor:
    """[L, N, D] in fp32: what leaves each of these layers at the last token of each sequence, one at a time."""
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    with torch.inference_mode(), recorded(model, layers) as states:
        for ids in sequences:
            model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False)
    return torch.stack([torch.stack([each[0, -1].float() for each in states[layer]]) for layer in layers])


def _stream(output: Any) -> Tensor:
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found
