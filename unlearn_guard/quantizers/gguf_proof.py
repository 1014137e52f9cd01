"""Is a GGUF file this candidate's? Byte for byte where its rounding is plain, else within it and not base's.

llama-quantize looks at no data unless it is given an importance matrix: then a tensor's bytes follow from the weights,
and equal bytes are proof. With such a matrix, which the file names, scales are sought that suit some inputs better, and
for the K-quants they are sought in any case, in an arithmetic that another build may round otherwise. Then a tensor has
to lie as near to the candidate as rounding to its type leaves it, and on the candidate's side of the middle between it
and base, as far as the noise of rounding lets that be told.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unlearn_guard.errors import Defect
from unlearn_guard.quantizers.ggml import FLOATS, Array, decode, encode
from unlearn_guard.quantizers.gguf_header import rope_factors
from unlearn_guard.quantizers.gguf_mix import MATRIX
from unlearn_guard.quantizers.gguf_writing import ROPE_FACTORS, as_llama_cpp, gguf_names
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.quantizers.nearest import roundings
from unlearn_guard.records import StoredTensor

FARTHER = 2.0
"""How much worse than plain rounding, as a root mean square, an importance matrix may leave a tensor."""

SIGMAS = 5.0

_WEIGHED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1")
"""The types without super-blocks that an importance matrix changes; Q8_0 is none of them."""

ALLOWED: Mapping[str, tuple[str, ...]] = {
    **{mix: (kind,) for mix, kind in MATRIX.items()},
    "Q4_K_M": ("Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q5_1", "Q8_0"),
}
"""The types that a recipe's matrices may have; embedding and head may have any."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """One tensor of a file: its type, its shape in torch's order, and its bytes, a row a row."""

    kind: str
    shape: tuple[int, ...]
    stored: Array


@dataclass(kw_only=True)
class Shown:
    """How many tensors have the bytes that the candidate gives, and how many lie as near as their type can."""

    equal: int = 0
    near: int = 0


def differences(
    held: Mapping[str, Held],
    candidate: Mapping[str, StoredTensor],
    base: Mapping[str, StoredTensor],
    config: Any,
    mix: str,
    shown: Shown,
    *,
    importance: bool = False,
) -> Iterator[Defect]:
    """What in the file cannot come from these weights, each by its name; `shown` is counted on.

    `importance`: the file names an importance matrix.
    """
    names, factors = gguf_names(candidate, config), rope_factors(config)
    expected = {*names, *([ROPE_FACTORS] if factors is not None else [])}
    for name in sorted(expected ^ held.keys()):
        there = "a tensor" if name in held else "no tensor"
        yield Defect(where=name, found=there, expected="none" if name in held else "one")
    if factors is not None and ROPE_FACTORS in held and not _equal(held[ROPE_FACTORS], factors):
        yield Defect(where=ROPE_FACTORS, found="other factors", expected="those of the config's rope")
    for name, own in names.items():
        if name in held:
            sought = held[name].kind.endswith("_K") or (importance and held[name].kind in _WEIGHED)
            weights = read_tensor(candidate, own), read_tensor(base, own)
            found = _difference(held[name], name, mix, *weights, config, sought=sought)
            if isinstance(found, bool):
                shown.equal, shown.near = shown.equal + found, shown.near + (not found)
            else:
                yield Defect(where=name, found=found, expected="what the candidate's weights give")


def _difference(
    held: Held, name: str, mix: str, weight: torch.Tensor, base: torch.Tensor, config: Any, *, sought: bool
) -> str | bool:
    """What is wrong; else whether the bytes are those of the candidate's weights. `sought`: they need not be."""
    if held.shape != tuple(weight.shape):
        return f"shape {list(held.shape)}"
    inside = name.startswith("blk.") and len(held.shape) > 1
    if inside and held.kind not in ALLOWED[mix]:
        return f"type {held.kind}, where {mix} has {' or '.join(ALLOWED[mix])}"
    own = as_llama_cpp(weight, name, config)
    if any(_equal(held, as_llama_cpp(each, name, config)) for each in roundings(weight)):
        return True
    if not sought:
        return "other values" if held.kind in FLOATS else "other codes or scales"
    return _far(held, own, as_llama_cpp(base, name, config)) or False


def _far(held: Held, own: Array, base: Array) -> str | None:
    """Why a tensor of other bytes cannot be the candidate's; None where it can."""
    found = decode(held.stored, held.kind).astype(np.float64).reshape(own.shape)
    plain = decode(encode(own, held.kind), held.kind).reshape(own.shape)
    error, usual = _norm(found - own), _norm(plain - own.astype(np.float64))
    if not error <= FARTHER * usual:  # a NaN too
        return f"values {error / max(usual, 1e-30):.1f} times as far off as {held.kind} rounds"
    moved = own.astype(np.float64) - base
    length = _norm(moved)
    if length == 0:
        return None
    # -1/2 at base, 1/2 at the candidate, and as its noise what rounding leaves in that direction
    place = float(((found - (own + base.astype(np.float64)) / 2) * moved).sum() / length**2)
    noise = error / math.sqrt(found.size) / length
    if place < 0 and 0.5 - place > SIGMAS * noise:
        return "values nearer to base's"
    return None


def _equal(held: Held, values: Array) -> bool:
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(1, -1)
    return np.array_equal(np.asarray(held.stored).reshape(-1), encode(rows, held.kind).reshape(-1))


def _norm(values: Array) -> float:
    return float(np.sqrt((values**2).sum()))
