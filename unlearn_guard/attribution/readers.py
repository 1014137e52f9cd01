"""The readers' side: each reader's gradient as the backward pass brings it, times every earlier source.

Nothing is kept for later. When the gradient of a norm's output is there, it is carried through the norm,
summed over the IG steps of the batch, multiplied by the sources, and gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_guard.attribution.architectures import Decoder, Layer, Norm, Projection
from unlearn_guard.attribution.graph import Block, EdgeSet
from unlearn_guard.attribution.memory import POSITION_BLOCK_BYTES
from unlearn_guard.attribution.sources import SourceDeltas


class Readers:
    """Hooks on a model's norms and projections that add up the score of each edge, [B, E] in fp32."""

    def __init__(self, decoder: Decoder, sources: SourceDeltas, edges: EdgeSet, batch: int) -> None:
        self._decoder, self._sources, self._batch = decoder, sources, batch
        self._blocks = decoder.graph.blocks(edges)
        self._scores = [torch.zeros(batch, len(block.readers), block.before) for block in self._blocks]
        self._steps = 0

    def scores_BE(self) -> Tensor:
        """The sum over IG steps seen so far, edges in the graph's order."""
        return torch.cat([scores.flatten(1) for scores in self._scores], dim=1)

    @contextmanager
    def listening(self, layer: int, steps: int) -> Iterator[None]:
        """Passes through a layer that run while this is open add to the scores when their gradient arrives.

        They are of `steps` * B rows; layer `Graph.layers` is what comes after the last one, the logits.
        """
        self._steps = steps
        handles: list[Any] = []
        for index, block in enumerate(self._blocks):
            if block.layer != layer:
                continue
            if len(block.readers) > 1:
                handles += self._attention_hooks(index, block)
            else:
                last = block.layer == self._decoder.graph.layers
                norm = self._decoder.final_norm if last else self._decoder.layers[block.layer].mlp_norm
                handles.append(norm.module.register_forward_hook(self._single_hook(index, block, norm)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, index: int, scores_BRU: Tensor) -> None:
        self._scores[index] += scores_BRU.to(self._scores[index])

    def _by_step(self, rows: Tensor) -> Tensor:
        """[steps * B, ...] -> [steps, B, ...]"""
        split: Tensor = rows.unflatten(0, (self._steps, self._batch))
        return split

    def _single_hook(self, index: int, block: Block, norm: Norm) -> Any:
        """A reader with a norm of its own: an MLP, or the logits."""

        def forward(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            x_XTD = args[0].detach()

            def backward(grad_XTD: Tensor) -> None:
                total_BTD = self._by_step(norm.pull_back(grad_XTD, x_XTD)).sum(0)
                self._add(index, self._sources.times_one(total_BTD, block.before)[:, None])

            output.register_hook(backward)

        return forward

    def _attention_hooks(self, index: int, block: Block) -> list[Any]:
        """Queries, keys and values: one norm, whose gradient is whole once each projection gave its part."""
        layer = self._decoder.layers[block.layer]
        seen: dict[int, tuple[Tensor, Tensor]] = {}

        def projected(key: int) -> Any:
            def forward(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
                value = output.detach()
                output.register_hook(lambda grad: seen.__setitem__(key, (value, grad)))

            return forward

        def normed(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            x_XTD = args[0].detach()

            def backward(_: Tensor) -> None:
                self._attention(index, block, x_XTD, seen)
                seen.clear()

            output.register_hook(backward)

        modules = {id(part.module): part.module for part in layer.projections}
        handles = [module.register_forward_hook(projected(key)) for key, module in modules.items()]
        return [*handles, layer.attention_norm.module.register_forward_hook(normed)]

    def _attention(self, index: int, block: Block, x_XTD: Tensor, seen: dict[int, tuple[Tensor, Tensor]]) -> None:
        layer = self._decoder.layers[block.layer]
        inverse_XT1 = layer.attention_norm.inverse_rms(x_XTD)
        scaled, along = [], []
        for part in layer.projections:
            value, grad = seen[id(part.module)]
            first, second = self._in_head_space(part, value, grad, inverse_XT1)
            scaled.append(first)
            along.append(second)
        scaled_BTRd, along_KBTR = torch.cat(scaled, dim=2), torch.cat(along, dim=3)
        weight_RdD = self._read_weight(layer, x_XTD)
        x_KBTD = self._by_step(x_XTD)
        length = self._block_length(weight_RdD)
        for start in range(0, x_XTD.shape[1], length):
            at = slice(start, start + length)
            grad_BRTD = torch.einsum("btrd,rdD->brtD", scaled_BTRd[:, at], weight_RdD)
            grad_BRTD -= torch.einsum("kbtr,kbtD->brtD", along_KBTR[:, :, at], x_KBTD[:, :, at].float())
            self._add(index, self._sources.times_many(grad_BRTD, at, block.layer))

    def _in_head_space(
        self, part: Projection, value_XTO: Tensor, grad_XTO: Tensor, inverse_XT1: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The two terms of the norm's Jacobian per reader, before they are brought to the model's width.

        For y = s * x * r, r = 1/rms: dx = r (s * W'g) - x (r^2 / D) g . (W (s * x r)), and the last factor
        is the projection's own output less its bias. The first sums over steps [B, T, R, d], the second
        is a number per step, position and reader [K, B, T, R].
        """
        bias, rows = part.bias(), slice(part.start, part.stop)
        value = value_XTO[..., rows].float()
        grad = grad_XTO[..., rows].float()
        split = (-1, self._decoder.head_dim)
        if bias is not None:
            value = value - bias.float()
        along = (grad * value).unflatten(-1, split).sum(-1) * inverse_XT1.square() / self._decoder.width
        return self._by_step(grad * inverse_XT1).sum(0).unflatten(-1, split), self._by_step(along)

    def _read_weight(self, layer: Layer, like: Tensor) -> Tensor:
        """W_q, W_k, W_v stacked, times the norm's scale: [R, d, D] in fp32."""
        weight = torch.cat([part.weight(like).float() for part in layer.projections])
        split: Tensor = (weight * layer.attention_norm.scale_D).unflatten(0, (-1, self._decoder.head_dim))
        return split

    def _block_length(self, weight_RdD: Tensor) -> int:
        """Positions at a time, so that written-out readers and heads of one layer stay within the bound."""
        position = 4 * self._decoder.width * self._batch * (len(weight_RdD) + self._decoder.graph.heads)
        return max(1, max(POSITION_BLOCK_BYTES, weight_RdD.numel()) // position)
