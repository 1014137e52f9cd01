"""Packs through a model: a mask by which each token sees its own row alone, after the keys and values of a trunk.

Not every model reads such a mask: ALiBi takes positions from a mask of two dimensions, a state-space model has none at
all, a sliding window counts places, a RoPE that follows the longest text changes with the batch. So a model is asked
first whether a small tree says what its rows say.
"""

import inspect
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache

from unlearn_guard.scoring.batches import Row
from unlearn_guard.scoring.packs import Pack

Trunk = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (1, H, T, D)."""

STEADY_ROPE = {"default", "linear", "llama3", "yarn", "proportional"}
"""Rotations of a position that do not depend on how long the longest text of a batch is."""

WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "attention_window")

NATS = {torch.float32: 1e-3}
"""How far a log-probability may move at most between a tree and its rows; at a coarser dtype `COARSE` on average."""

COARSE = 0.25

_DEEPEST: "WeakKeyDictionary[Any, int]" = WeakKeyDictionary()
"""A model is asked once: what it takes is its architecture's doing, not its weights'."""

_REFUSED = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, NotImplementedError)


class Branching:
    """Runs trunks and packs. `deepest` is the longest row that a pack may hold: 0 where the model takes no packs."""

    def __init__(self, model: Any, device: Any) -> None:
        self._model, self._device = model, device
        self._caches = "use_cache" in inspect.signature(model.forward).parameters
        if model not in _DEEPEST:
            longest = _longest(model)
            _DEEPEST[model] = longest if longest > 0 and self._says_the_same() else 0
        self.deepest = _DEEPEST[model]

    @torch.no_grad()
    def trunk(self, tokens: Sequence[int]) -> Trunk:
        """Keys and values of the tokens that all rows begin with."""
        cache = DynamicCache()
        ids_1T = torch.tensor([list(tokens)], device=self._device)
        self._model(input_ids=ids_1T, past_key_values=cache, logits_to_keep=1, **self._caching(True))
        return [(layer.keys, layer.values) for layer in cache.layers]

    @torch.no_grad()
    def logits(self, packs: Sequence[Pack], keep: int, trunk: Trunk | None) -> Any:
        """What the model returns as logits (B, keep, V): each pack's scored places at its right edge, in order."""
        before = packs[0].trunk
        orders = [_order(pack) for pack in packs]
        longest = max(map(len, orders))
        ids_BT = torch.zeros(len(packs), longest, dtype=torch.long)
        depths_BT = torch.zeros_like(ids_BT)
        seen_BTS = torch.zeros(len(packs), longest, before + longest, dtype=torch.bool)
        seen_BTS[:, :, before:] |= torch.eye(longest, dtype=torch.bool)  # what pads sees itself: no row is empty
        for index, (pack, order) in enumerate(zip(packs, orders, strict=True)):
            gap = longest - len(order)
            at = torch.tensor(order)
            ids_BT[index, gap:] = torch.tensor(pack.tokens)[at]
            depths_BT[index, gap:] = torch.tensor(pack.depths())[at]
            seen_BTS[index, gap:, before + gap :] = _ancestors(pack.parents)[at][:, at]
            seen_BTS[index, gap:, :before] = True
        dtype = self._model.dtype
        mask_BTS = torch.zeros(seen_BTS.shape, dtype=dtype).masked_fill_(~seen_BTS, torch.finfo(dtype).min)
        options = self._caching(trunk is not None)
        if trunk is not None:
            options["past_key_values"] = _grown(trunk, len(packs))
        output = self._model(
            input_ids=ids_BT.to(self._device),
            position_ids=depths_BT.to(self._device),
            attention_mask=mask_BTS[:, None].to(self._device),
            logits_to_keep=keep,
            **options,
        )
        return output.logits

    def _caching(self, wanted: bool) -> dict[str, Any]:
        return {"use_cache": wanted} if self._caches else {}

    def _says_the_same(self) -> bool:
        """Whether a small tree after a trunk, beside a smaller one, answers as its rows do one by one."""
        known = self._model.get_input_embeddings().weight.shape[0]
        draw = [(7 * place + 3) % known for place in range(16)]
        stem, first, second, other = draw[:8], draw[8:11], draw[11:13], draw[13:16]
        rows = [Row((*stem, *first)), Row((*stem, *second)), Row((*stem[:5], *other))]
        for row in rows:
            row.targets.append((0, row.tokens[-2:]))
        packs = [Pack(4), Pack(4)]
        for pack, members in zip(packs, (rows[:2], rows[2:]), strict=True):
            for row in members:
                pack.add(row)
        try:
            keep = max(pack.keep for pack in packs)
            found = self.logits(packs, keep, self.trunk(stem[:4]))
            alone = [self._alone(row) for row in rows]
        except _REFUSED:
            return False
        for index, pack in enumerate(packs):
            scored = pack.scored()
            for row, path in pack.rows:
                places = [keep - len(scored) + scored.index(place) for place in path[-row.keep :]]
                expected = alone[rows.index(row)]
                moved = (found[index, places].float().log_softmax(-1) - expected).abs()
                exact = NATS.get(found.dtype)
                if not (moved.max() <= exact if exact is not None else moved.mean() <= COARSE):
                    return False
        return True

    def _alone(self, row: Row) -> Tensor:
        with torch.no_grad():
            output = self._model(input_ids=torch.tensor([row.tokens], device=self._device), **self._caching(False))
        logits_KV: Tensor = output.logits[0, -row.keep :].float()
        return logits_KV.log_softmax(-1)


def share_nothing(model: Any) -> None:
    """Ask this model row by row from now on: then all models are asked the same questions in the same passes."""
    _DEEPEST[model] = 0


def _longest(model: Any) -> int:
    """The longest row that a pack could hold, by the model's signature and configuration."""
    accepted = inspect.signature(model.forward).parameters
    config = getattr(model, "config", None)
    wanted = {"position_ids", "past_key_values", "logits_to_keep", "attention_mask"}
    if config is None or not wanted <= set(accepted):
        return 0
    config = config.get_text_config(decoder=True)
    types = set(getattr(config, "layer_types", None) or ())
    if not types <= {"full_attention", "sliding_attention", "chunked_attention"}:
        return 0
    ropes = getattr(config, "rope_parameters", None) or {}
    nested = [each for each in ropes.values() if isinstance(each, dict)] or [ropes]
    if not {each.get("rope_type", "default") for each in nested} <= STEADY_ROPE:
        return 0
    if config._attn_implementation not in {"eager", "sdpa"}:
        return 0
    if any(buffer.dtype == torch.bool and buffer.dim() > 1 for buffer in model.buffers()):
        return 0  # a mask of its own, by the places in a sequence (GPT-Neo)
    windows = [getattr(config, name, None) for name in WINDOWS]
    return min((each for each in windows if isinstance(each, int) and each > 0), default=2**31)


def _order(pack: Pack) -> list[int]:
    """Places with those that are scored last, where the model makes logits."""
    scored = pack.scored()
    wanted = set(scored)
    return [place for place in range(len(pack.tokens)) if place not in wanted] + scored


def _ancestors(parents: Sequence[int]) -> Tensor:
    """(T, T): whether the one place stands on the other's way to the root, itself included."""
    seen_TT = torch.eye(len(parents), dtype=torch.bool)
    for place, parent in enumerate(parents):
        if parent >= 0:
            seen_TT[place] |= seen_TT[parent]
    return seen_TT


def _grown(trunk: Trunk, rows: int) -> DynamicCache:
    """A cache that begins with the trunk in every row."""
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(trunk):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
    return cache
