"""What each source writes on the clean and the corrupted prompt, and its product with a reader's gradient.

Heads are kept as the input of o_proj, [B, T, H * head_dim], never as H vectors of the model's width: what
a head writes is its slice of o_proj, so a gradient is brought to the slice instead. That is 2 L + 1
widths a token where the written-out nodes take 1 + L (H + 1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_guard.attribution.architectures import Decoder
from unlearn_guard.attribution.replay import layer_input
from unlearn_guard.errors import needed

_PASSED = "what the forward pass leaves"


class SourceDeltas:
    """dA = corrupted - clean of every source, in fp32, with heads in projected form.

    Fill it with two forward passes: `recording(first=True)` around the clean prompts, then
    `recording(first=False, rows=B)` around a batch whose first B rows are the corrupted ones.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.input: Tensor | None = None
        self.heads: list[Tensor | None] = [None] * decoder.graph.layers
        self.mlps: list[Tensor | None] = [None] * decoder.graph.layers

    @contextmanager
    def recording(self, *, first: bool, rows: int) -> Iterator[None]:
        """While open, forward passes leave their nodes here: as they are, or minus what the first pass left."""

        def settle(value: Tensor, held: Tensor | None) -> Tensor:
            new = value[:rows].detach().float()
            if first:
                return new
            return new - needed(held, "the pass of the clean prompts")

        entry = self._decoder.layers[0].block
        handles = [entry.register_forward_pre_hook(self._input_hook(settle), with_kwargs=True)]
        for index, layer in enumerate(self._decoder.layers):
            handles.append(layer.output.register_forward_hook(self._heads_hook(index, settle)))
            handles.append(layer.mlp.register_forward_hook(self._mlp_hook(index, settle)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _input_hook(self, settle: Any) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.input = settle(layer_input(args, kwargs), self.input)

        return hook

    def _heads_hook(self, index: int, settle: Any) -> Any:
        after = self._decoder.layers[index].attention_out

        def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            z_BTZ = args[0].detach()
            if after is not None:
                # The norm of the heads' sum scales each head's part alike, by this prompt's own rms.
                z_BTZ = z_BTZ.float() * after.inverse_rms(output.detach())
            self.heads[index] = settle(z_BTZ, self.heads[index])

        return hook

    def _mlp_hook(self, index: int, settle: Any) -> Any:
        def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            self.mlps[index] = settle(output, self.mlps[index])

        return hook

    def write_weight(self, layer: int) -> Tensor:
        """[D, H * head_dim] in fp32: what the layer's kept head values are multiplied by to be written."""
        found = self._decoder.layers[layer]
        weight = found.output_weight.float()
        return weight if found.attention_out is None else weight * found.attention_out.scale_D[:, None]

    def masks(self, mask_U: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """A number per source as one per kept head value, [H * head_dim], and one per MLP, layer by layer."""
        heads = self._decoder.graph.heads
        for layer, part in enumerate(mask_U[1:].split(heads + 1)):
            yield layer, part[:heads].repeat_interleave(self._decoder.head_dim), part[heads]

    def times_one(self, grad_BTD: Tensor, before: int) -> Tensor:
        """Sum over T and D of dA_u * grad for the first `before` sources, [B, before]: the gradient is projected."""
        columns = [torch.einsum("btd,btd->b", needed(self.input, _PASSED), grad_BTD)[:, None]]
        for layer in range(self._decoder.graph.layers):
            if sum(part.shape[1] for part in columns) == before:
                break
            columns.append(self._heads_times(layer, grad_BTD))
            if sum(part.shape[1] for part in columns) < before:
                columns.append(torch.einsum("btd,btd->b", self.mlps[layer], grad_BTD)[:, None])
        return torch.cat(columns, dim=1)

    def _heads_times(self, layer: int, grad_BTD: Tensor) -> Tensor:
        heads = needed(self.heads[layer], _PASSED)
        product = (grad_BTD @ self.write_weight(layer)).mul_(heads)
        summed: Tensor = product.unflatten(-1, (self._decoder.graph.heads, self._decoder.head_dim)).sum((1, 3))
        return summed

    def times_many(self, grad_BRTD: Tensor, positions: slice, layers: int) -> Tensor:
        """The same for R readers at some positions and every source before layer `layers`, [B, R, before].

        Heads are written out, for these positions and one layer at a time: for many readers this is
        the cheaper way round.
        """
        readers_BRX = grad_BRTD.flatten(2)
        columns = [_inner(readers_BRX, needed(self.input, _PASSED)[:, None, positions])]
        for layer in range(layers):
            heads, mlp = needed(self.heads[layer], _PASSED), needed(self.mlps[layer], _PASSED)
            z_BTHd = heads[:, positions].unflatten(-1, (self._decoder.graph.heads, self._decoder.head_dim))
            weight_DHd = self.write_weight(layer).unflatten(-1, z_BTHd.shape[2:])
            columns.append(_inner(readers_BRX, torch.einsum("bthd,Dhd->bhtD", z_BTHd, weight_DHd)))
            columns.append(_inner(readers_BRX, mlp[:, None, positions]))
        return torch.cat(columns, dim=2)


def _inner(readers_BRX: Tensor, written_BUTD: Tensor) -> Tensor:
    return readers_BRX @ written_BUTD.flatten(2).transpose(1, 2)
