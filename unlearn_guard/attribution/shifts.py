"""Activation shifts: how far an edit moved what the circuit's MLPs write, and what everything else writes.

Ours; an activation reading of AS-C / AS-NC that is reported beside them (docs/attribution.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from unlearn_guard.attribution.architectures import Decoder, decoder_of
from unlearn_guard.attribution.cad import as_corrected, as_measurement
from unlearn_guard.attribution.circuit import Circuit
from unlearn_guard.attribution.eap_ig import inference_state, token_ids
from unlearn_guard.attribution.noise import FEWEST, Estimate, jackknife_error
from unlearn_guard.attribution.scores import Floats
from unlearn_guard.errors import MeasurementError, UsageError
from unlearn_guard.records import Measurement

_NAMES = ("activation_shift_c", "activation_shift_nc")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOutputs:
    """What each sublayer writes on each prompt: `by_item[n]` is [2 L, T, D] in fp32, a0, m0, a1, m1, ... On the CPU."""

    layers: int
    by_item: tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], ...]


def node_outputs(model: nn.Module, prompts: Sequence[Sequence[int]]) -> NodeOutputs:
    """Every attention's and MLP's contribution to the residual stream, at every position, one prompt at a time.

    So base and candidate need not be in memory together. 8 L T D bytes a prompt (157 MB for 150 tokens of an 8B model).
    """
    if not prompts:
        raise UsageError("activation shifts need at least one prompt")
    decoder = decoder_of(model)
    with inference_state(model), torch.no_grad():
        return NodeOutputs(layers=len(decoder.layers), by_item=tuple(_one(decoder, ids) for ids in prompts))


def _one(decoder: Decoder, ids: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    written: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
        written.append(output[0].float().cpu().numpy())

    modules = [module for layer in decoder.layers for module in (_attention(layer), layer.mlp)]
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        decoder.model(input_ids=token_ids([ids], decoder.model), use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return np.stack(written)


def _attention(layer: object) -> nn.Module:
    after = layer.attention_out  # type: ignore[attr-defined]
    found: nn.Module = layer.output if after is None else after.module  # type: ignore[attr-defined]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """How far each sublayer's output moved on each prompt, and how large base's was: squares [items, 2 L], summed."""

    change_NU: Floats
    size_NU: Floats

    def __post_init__(self) -> None:
        if self.change_NU.shape != self.size_NU.shape or self.size_NU.ndim != 2 or not self.size_NU.size:
            raise ValueError(f"squares of {self.change_NU.shape} changes and {self.size_NU.shape} sizes")
        if not all(np.isfinite(each).all() and (each >= 0).all() for each in (self.change_NU, self.size_NU)):
            raise ValueError("a square that is negative or no number")


def moves(base: NodeOutputs, candidate: NodeOutputs) -> Moves:
    """What there is to measure of two models' outputs on the same prompts, whatever the circuit."""
    shapes = [[item.shape for item in side.by_item] for side in (base, candidate)]
    if shapes[0] != shapes[1]:
        raise MeasurementError("base and candidate were not run on prompts of the same lengths, or differ in size")
    pairs = tuple(zip(base.by_item, candidate.by_item, strict=True))
    return Moves(
        change_NU=np.array([np.square(after - before, dtype=np.float64).sum((1, 2)) for before, after in pairs]),
        size_NU=np.array([np.square(before, dtype=np.float64).sum((1, 2)) for before, _ in pairs]),
    )


def activation_shift(moved: Moves, circuit: Circuit) -> tuple[float, float]:
    """(inside, outside): sqrt(sum |a' - a|^2 / sum |a|^2) over the circuit's MLPs, and over all other sublayers."""
    inside, outside = _shift(np.full((1, len(moved.size_NU)), 1.0), *_squares(moved, circuit))
    return float(inside[0]), float(outside[0])


def measure_shift(
    moved: Moves, circuit: Circuit, *, subject: str, precision: str, task: str
) -> tuple[Measurement, ...]:
    """`activation_shift_c` and `activation_shift_nc` as defined; errors and intervals over prompts as for `cad`."""
    squares = _squares(moved, circuit)
    items = len(moved.size_NU)
    values = _shift(np.full((1, items), 1.0), *squares)[:, 0]
    estimates = _estimates(*squares) if items >= FEWEST else (None, None)
    return tuple(
        as_measurement(name, value, estimate, subject=subject, precision=precision, task=task, samples=items)
        for name, value, estimate in zip(_NAMES, values, estimates, strict=True)
    )


def corrected_shift(
    moved: Moves, circuit: Circuit, *, subject: str, precision: str, task: str
) -> tuple[Measurement, ...]:
    """Both shifts without the bias that a ratio of few prompts has, by the jackknife; none below three prompts."""
    squares = _squares(moved, circuit)
    if len(moved.size_NU) < FEWEST:
        return ()
    return tuple(
        as_corrected(name, estimate, subject=subject, precision=precision, task=task)
        for name, estimate in zip(_NAMES, _estimates(*squares), strict=True)
    )


def _estimates(change_N2: Floats, size_N2: Floats) -> tuple[Estimate, ...]:
    """Squares are added item by item, so no noise adds up: what is left is the bias of a ratio, of order 1/n."""
    items = len(size_N2)
    everyone, others = np.full((1, items), 1.0), 1.0 - np.eye(items)
    plain_2, left_2N = _shift(everyone, change_N2, size_N2)[:, 0], _shift(others, change_N2, size_N2)
    return tuple(
        Estimate(
            items=items,
            plain=float(plain),
            plain_error=jackknife_error(left_N),
            square=float(items * plain**2 - (items - 1) * np.square(left_N).mean()),
            square_error=jackknife_error(np.square(left_N)),
        )
        for plain, left_N in zip(plain_2, left_2N, strict=True)
    )


def _squares(moved: Moves, circuit: Circuit) -> tuple[Floats, Floats]:
    """Summed squares of the change and of the base, inside and outside: two arrays [items, 2]."""
    inside = np.array([index % 2 == 1 and index // 2 in circuit.layers for index in range(moved.size_NU.shape[1])])
    change_N2, size_N2 = (
        np.stack([squares_NU[:, inside].sum(1), squares_NU[:, ~inside].sum(1)], axis=1)
        for squares_NU in (moved.change_NU, moved.size_NU)
    )
    return change_N2, size_N2


def _shift(weights_RN: Floats, change_N2: Floats, size_N2: Floats) -> Floats:
    size_2R = (weights_RN @ size_N2).T
    if not (size_2R > 0).all():
        raise MeasurementError("the base's sublayers write nothing on these prompts, so no relative shift exists")
    found: Floats = np.sqrt((weights_RN @ change_N2).T / size_2R)
    return found
