"""EAP-IG (inputs): how much each edge carries of the logit difference between a clean and a corrupted prompt.

s(u -> v) = 1/m * sum over k and positions of <dA_u, dM/d in_v at x_k>, with dA_u = corrupted - clean,
x_k = x' + (k/m)(x - x') for k = 0 ... m-1 (x the clean, x' the corrupted residual stream entering layer
0) and in_v the residual stream as reader v sees it, before the layer norm. M = logit(target) - mean
logit(wrong) at the last position. A negative score: the clean source holds the metric up.

Prompts run in groups of equal length, so there is no padding, and no score depends on the batch.

Source: Hanna et al. 2024 (EAP-IG), as in hannamw/EAP-IG; ours: heads under a post-attention norm
(docs/attribution.md), the metric's sign and the scale, which does not depend on the batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearn_guard.attribution.architectures import Decoder, decoder_of
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.attribution.memory import automatic_rows
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.attribution.readers import Readers
from unlearn_guard.attribution.replay import Replay, layer_input, with_input
from unlearn_guard.attribution.scores import ItemScores
from unlearn_guard.attribution.sources import SourceDeltas
from unlearn_guard.errors import Defect, NonFiniteError, SuiteError, UsageError, needed

DEFAULT_STEPS = 5


def attribute(
    model: nn.Module,
    pairs: Sequence[Pair],
    *,
    edges: EdgeSet = EdgeSet.MLP,
    steps: int = DEFAULT_STEPS,
    rows: int | None = None,
) -> ItemScores:
    """Score every edge of the set on every pair; items come back in the order they were given.

    `rows` is how many prompts, items times steps, go through the model at once: it sets the memory
    (attribution.memory, which also chooses it where it is not given) and not the scores. The model's
    weights, mode and hooks are left as they were.

    Raises UsageError for a model, a number of steps or token ids that cannot be used, NonFiniteError naming
    the pair whose scores are not finite.
    """
    if steps < 1 or (rows is not None and rows < 1) or not pairs:
        raise UsageError(f"{steps} steps, {rows} rows, {len(pairs)} pairs: attribution needs at least one of each")
    decoder = decoder_of(model)
    check_vocabulary(pairs, model)
    graph = decoder.graph
    names = graph.edges(edges)
    rows = rows or _rows(decoder.model, max(len(pair.clean) for pair in pairs), steps, edges)
    scores_NE = np.zeros((len(pairs), len(names)), dtype=np.float32)
    metrics_N2 = np.zeros((len(pairs), 2))
    with inference_state(model):
        for group in batches(pairs, max(1, rows // steps)):
            batch = [pairs[item] for item in group]
            scores_NE[group], metrics_N2[group] = _batch(decoder, batch, edges, steps, rows)
    _refuse_non_finite(pairs, scores_NE, metrics_N2)
    return ItemScores(
        edges=names, scores_NE=scores_NE, clean_N=metrics_N2[:, 0], corrupted_N=metrics_N2[:, 1], steps=steps
    )


def _rows(model: nn.Module, tokens: int, steps: int, edges: EdgeSet) -> int:
    weights = sum(parameter.nbytes for parameter in model.parameters())
    dtype_bytes = next(p for p in model.parameters() if p.is_floating_point()).element_size()
    return automatic_rows(model.config, weights, tokens=tokens, steps=steps, edges=edges, dtype_bytes=dtype_bytes)


def batches(pairs: Sequence[Pair], size: int) -> Iterator[list[int]]:
    """Indices of pairs of equal length, at most `size` together."""
    by_length: dict[int, list[int]] = {}
    for item, pair in enumerate(pairs):
        by_length.setdefault(len(pair.clean), []).append(item)
    for items in by_length.values():
        yield from (items[start : start + size] for start in range(0, len(items), size))


@contextmanager
def inference_state(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with frozen parameters; both are restored at the end."""
    training = {module: module.training for module in model.modules()}
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
        for module, mode in training.items():
            module.training = mode


def token_ids(sequences: Sequence[Sequence[int]], model: nn.Module) -> Tensor:
    """[B, T] on the model's device; all of one length."""
    device = next(model.parameters()).device
    return torch.tensor([list(ids) for ids in sequences], device=device)


class Metric:
    """logit(target) - mean logit(wrong) at the last position, for a batch of pairs, in fp32."""

    def __init__(self, pairs: Sequence[Pair], model: nn.Module) -> None:
        widest = max(len(pair.wrong) for pair in pairs)
        answers = [[pair.target, *pair.wrong, *[0] * (widest - len(pair.wrong))] for pair in pairs]
        weights = [[1.0, *[-1 / len(pair.wrong)] * len(pair.wrong)] for pair in pairs]
        weights = [[*row, *[0.0] * (1 + widest - len(row))] for row in weights]
        self._model = model
        self._answers_BA = token_ids(answers, model)
        self._weights_BA = torch.tensor(weights, device=self._answers_BA.device)

    def __call__(self, ids_BT: Tensor, repeats: int = 1) -> Tensor:
        """[repeats * B]; row k * B + b is pair b."""
        logits = self._model(input_ids=ids_BT, use_cache=False, logits_to_keep=1).logits
        if logits.shape[:2] != (len(ids_BT), 1):
            raise UsageError(f"{type(self._model).__name__} ignored logits_to_keep=1: logits {tuple(logits.shape)}")
        answers, weights = self._answers_BA.repeat(repeats, 1), self._weights_BA.repeat(repeats, 1)
        chosen: Tensor = logits[:, -1].gather(1, answers.to(logits.device)).float() * weights.to(logits.device)
        return chosen.sum(1)


def _batch(
    decoder: Decoder, pairs: Sequence[Pair], edges: EdgeSet, steps: int, rows: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Scores [B, E] and both metrics [B, 2] of pairs of one length."""
    count = len(pairs)
    metric = Metric(pairs, decoder.model)
    clean_BT, corrupted_BT = (token_ids([getattr(p, side) for p in pairs], decoder.model) for side in _SIDES)
    sources = SourceDeltas(decoder)
    with torch.no_grad(), sources.recording(first=True, rows=count):
        clean_B = metric(clean_BT)
    points = _Points(needed(sources.input, "the pass of the clean prompts"), steps)
    readers = Readers(decoder, sources, edges, count)
    corrupted_B = torch.empty(0)
    together = max(1, rows // count)
    for start in range(0, steps, together):
        ks = range(start, min(start + together, steps))
        recording = nullcontext() if start else sources.recording(first=False, rows=count)
        replay = Replay([layer.block for layer in decoder.layers])
        with recording, points.injected(ks, decoder), replay.keeping(), readers.listening(len(decoder.layers), len(ks)):
            values = metric(corrupted_BT.repeat(len(ks), 1), len(ks))
        if start == 0:
            corrupted_B = values[:count].detach()
        replay.backward(values.sum(), partial(readers.listening, steps=len(ks)))
    scores_BE = (readers.scores_BE() / steps).cpu().numpy()
    return scores_BE, torch.stack([clean_B, corrupted_B], 1).double().cpu().numpy()


_SIDES = ("clean", "corrupted")


class _Points:
    """x_k = x' + (k/m)(x - x') for some k, put in place of what enters layer 0; row k * B + b is pair b."""

    def __init__(self, clean_BTD: Tensor, steps: int) -> None:
        self._clean_BTD, self._steps = clean_BTD, steps

    @contextmanager
    def injected(self, ks: range, decoder: Decoder) -> Iterator[None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            found = layer_input(args, kwargs)
            start_BTD = found[: len(self._clean_BTD)].float()
            step_BTD = self._clean_BTD - start_BTD
            rows = torch.cat([torch.add(start_BTD, step_BTD, alpha=k / self._steps) for k in ks])
            return with_input(rows.to(found.dtype), args, kwargs)

        handle = decoder.layers[0].block.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def check_vocabulary(pairs: Sequence[Pair], model: nn.Module) -> None:
    """Raises SuiteError naming every pair with a token id that the model has no row for."""
    size = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    defects = [
        Defect(where=pair.where, found=f"token id {highest}", expected=f"ids below {size}, the model's embedding")
        for pair in pairs
        if (highest := max(*pair.clean, *pair.corrupted, pair.target, *pair.wrong)) >= size
    ]
    if defects:
        raise SuiteError("prompt pairs hold tokens that the model does not have", defects)


def _refuse_non_finite(pairs: Sequence[Pair], *arrays_N: np.ndarray[Any, Any]) -> None:
    finite_N = np.logical_and.reduce([np.isfinite(array).all(axis=1) for array in arrays_N])
    defects = [
        Defect(where=pair.where, found="NaN or infinity in the metric or its gradient", expected="finite numbers")
        for pair, finite in zip(pairs, finite_N, strict=True)
        if not finite
    ]
    if defects:
        raise NonFiniteError("attribution did not come out finite; try fp32 or bf16 in place of fp16", defects)
