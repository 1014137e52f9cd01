"""A backward pass that holds one layer's activations at a time: each layer runs again when its turn comes.

What is kept of the forward pass is what enters each layer, where autograd would keep fifteen or twenty
times that. The price is one more forward pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_guard.errors import ScoringError, needed


class Replay:
    """One forward pass through a stack of decoder layers, and the gradient back through it.

    A hook on a layer's parts sees it twice: in the forward pass, which builds no graph below the last layer's
    output, and in `backward`, with one. Parameters must be frozen and caches off. One forward pass, then
    one `backward`.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._layers = layers
        self._entered: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._top: Tensor | None = None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """While open, what enters each layer is left here, as pre-hooks opened earlier have changed it."""
        handles: list[Any] = [layer.register_forward_pre_hook(self._keep, with_kwargs=True) for layer in self._layers]
        handles.append(self._layers[-1].register_forward_hook(self._cut))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def backward(self, total: Tensor, listening: Callable[[int], AbstractContextManager[None]]) -> Tensor:
        """Gradient of `total` at what entered the first layer; the last layer is the first to run again.

        Layer `index` does so within `listening(index)`.
        """
        (grad_XTD,) = torch.autograd.grad(total, needed(self._top, "the kept forward pass"))
        self._top = None
        for index in reversed(range(len(self._layers))):
            args, kwargs = self._entered.pop()
            x_XTD = layer_input(args, kwargs).detach().requires_grad_()
            args, kwargs = with_input(x_XTD, args, kwargs)
            with torch.enable_grad(), listening(index):
                output_XTD = self._layers[index](*args, **kwargs)
                (grad_XTD,) = torch.autograd.grad(output_XTD, x_XTD, grad_XTD)
        found: Tensor = grad_XTD
        return found

    def _keep(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("past_key_values") is not None:
            raise ScoringError("the model keeps a cache, which would take each layer's keys and values twice")
        self._entered.append((args, kwargs))

    def _cut(self, _: nn.Module, __: tuple[Any, ...], output_XTD: Tensor) -> Tensor:
        self._top = output_XTD.detach().requires_grad_()
        return self._top


def layer_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The residual stream as a decoder layer is handed it."""
    found: Tensor = args[0] if args else kwargs["hidden_states"]
    return found


def with_input(x_XTD: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A decoder layer's arguments with another residual stream."""
    return ((x_XTD, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x_XTD})
