"""Faithfulness: what remains of the metric when every edge outside the circuit carries the corrupted prompt.

Literal and slow: one pair at a time, each reader's input put together from its own sources.
"""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_guard.attribution.architectures import Decoder, Norm, decoder_of
from unlearn_guard.attribution.eap_ig import Metric, check_vocabulary, inference_state, token_ids
from unlearn_guard.attribution.graph import ends
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.attribution.sources import SourceDeltas
from unlearn_guard.errors import MeasurementError, UsageError, needed


def faithfulness(model: nn.Module, pairs: Sequence[Pair], *, circuit: Collection[str], edges: Collection[str]) -> float:
    """(M(circuit) - M(corrupted)) / (M(clean) - M(corrupted)), each M the mean over pairs.

    1: the circuit does what the model does. 0: it does no more than the corrupted prompt. The clean prompt
    is run with every edge of `edges` that is not in `circuit` patched; edges in neither stay clean. Not
    bounded: a circuit that leaves out what works against the answer exceeds 1.

    Source: Hanna et al. 2024. Raises MeasurementError where clean and corrupted do not differ.
    """
    unknown = set(circuit) - set(edges)
    if unknown or not pairs:
        raise UsageError(f"{len(pairs)} pairs; edges of the circuit that are not scored: {sorted(unknown)[:5]}")
    decoder = decoder_of(model)
    check_vocabulary(pairs, model)
    patched = _masks(decoder, set(edges) - set(circuit))
    totals = torch.zeros(3, dtype=torch.float64)
    with inference_state(model), torch.no_grad():
        for pair in pairs:
            totals += torch.tensor(_one(decoder, pair, patched), dtype=torch.float64)
    clean, corrupted, remaining = totals.tolist()
    if clean == corrupted:
        raise MeasurementError(
            "the metric is the same on clean and corrupted prompts: there is nothing to be faithful to"
        )
    return float((remaining - corrupted) / (clean - corrupted))


def _masks(decoder: Decoder, outside: Collection[str]) -> dict[str, Tensor]:
    """Per reader, which sources are to come from the corrupted prompt: [U], 1 or 0."""
    position = {name: index for index, name in enumerate(decoder.graph.sources)}
    masks: dict[str, Tensor] = {}
    for edge in outside:
        source, reader = ends(edge)
        if source not in position:
            raise UsageError(f"{edge} names no source of this model")
        masks.setdefault(reader, torch.zeros(len(position)))[position[source]] = 1.0
    return masks


def _one(decoder: Decoder, pair: Pair, patched: dict[str, Tensor]) -> tuple[float, float, float]:
    metric = Metric([pair], decoder.model)
    clean, corrupted = (token_ids([ids], decoder.model) for ids in (pair.clean, pair.corrupted))
    # Filled with the corrupted prompt, then overwritten node by node with current - corrupted.
    nodes = SourceDeltas(decoder)
    with nodes.recording(first=True, rows=1):
        on_corrupted = metric(corrupted)
    on_clean = metric(clean)
    with ExitStack() as stack:
        stack.enter_context(nodes.recording(first=False, rows=1))
        for module, hook, before in _patches(decoder, nodes, patched):
            register: Any = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(hook).remove)
        remaining = metric(clean)
    return on_clean.item(), on_corrupted.item(), remaining.item()


def _patches(decoder: Decoder, nodes: SourceDeltas, patched: dict[str, Tensor]) -> list[tuple[nn.Module, Any, bool]]:
    found: list[tuple[nn.Module, Any, bool]] = []

    def single(norm: Norm, reader: str) -> None:
        if reader in patched:
            found.append((norm.module, lambda _, args: (_without(nodes, args[0], patched[reader]),), True))

    for index, layer in enumerate(decoder.layers):
        names = decoder.graph.attention_readers(index)
        if any(name in patched for name in names):
            found += _attention_patches(decoder, nodes, patched, index)
        single(layer.mlp_norm, f"m{index}")
    single(decoder.final_norm, "logits")
    return found


def _attention_patches(
    decoder: Decoder, nodes: SourceDeltas, patched: dict[str, Tensor], index: int
) -> list[tuple[nn.Module, Any, bool]]:
    """Replace each query's, key's and value's own slice of the projection by what its own input gives."""
    layer, size = decoder.layers[index], decoder.head_dim
    names = iter(decoder.graph.attention_readers(index))
    slices: dict[int, list[tuple[str, slice]]] = {}
    for part in layer.projections:
        for start in range(part.start, part.stop, size):
            slices.setdefault(id(part.module), []).append((next(names), slice(start, start + size)))
    stream: list[Tensor] = []

    def replace(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        output = output.clone()
        for name, rows in slices[id(module)]:
            if name in patched:
                normed = layer.attention_norm.module.forward(_without(nodes, stream[-1], patched[name]))
                output[..., rows] = module.forward(normed)[..., rows]
        return output

    modules = {id(part.module): part.module for part in layer.projections}
    watch = (layer.attention_norm.module, lambda _, args: stream.append(args[0]), True)
    return [watch, *((module, replace, False) for module in modules.values())]


def _without(nodes: SourceDeltas, x_BTD: Tensor, mask_U: Tensor) -> Tensor:
    """The residual stream with the masked sources' current outputs replaced by their corrupted ones."""
    mask = mask_U.to(x_BTD.device)
    found = x_BTD.float() - mask[0] * needed(nodes.input, "the sources' input")
    for layer, heads_mask, mlp_mask in nodes.masks(mask):
        heads, mlp = nodes.heads[layer], nodes.mlps[layer]
        if heads_mask.any():
            found = found - (needed(heads, "a layer's heads") * heads_mask) @ nodes.write_weight(layer).T
        if mlp_mask:
            found = found - mlp_mask * needed(mlp, "a layer's MLP")
    return found.to(x_BTD.dtype)
