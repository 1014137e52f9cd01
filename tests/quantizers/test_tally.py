"""Counts of an edit on base's grid, against numbers worked out by hand and the counting as it was."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import grid_counts, nf4_by_hand
from tests.tiny import build, save
from unlearn_guard.checking.checkpoints import open_sealed
from unlearn_guard.quantizers import drift, grid
from unlearn_guard.quantizers.layers import read_pieces, read_tensor, stored_tensors
from unlearn_guard.quantizers.tally import Ratios, Tally
from unlearn_guard.records import RATIO_OCTAVES, LayerDrift


def random_weight(shape: tuple[int, ...], seed: int = 0, scale: float = 0.05) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def count(*pairs: tuple[Tensor, Tensor]) -> tuple[LayerDrift, float | None]:
    """The counts of one layer that came in these pieces, and the median."""
    ratios = Ratios(torch.device("cpu"))
    tally = Tally(ratios)
    for base, candidate in pairs:
        tally.add(base.reshape(-1), candidate.reshape(-1))
    return tally.drift("layer"), ratios.median()


def test_counts_worked_out_by_hand() -> None:
    """Of 64 weights three change: by a tenth of a cell, by a whole cell, by two cells; two of the codes change."""
    base = torch.zeros(1, 64)
    base[0, 0] = 1.0
    width = grid.bin_width(grid.codes(base))[0, 1].item()
    candidate = base.clone()
    candidate[0, 1:4] = torch.tensor([0.1, 1.0, 2.0]) * width
    found, median = count((base, candidate))
    assert (found.weights, found.changed, found.flipped, found.survived) == (64, 3, 2, 2)
    assert median == pytest.approx(1.0, rel=1 / 4096)
    whole = drift.Drift(layers=(found, found), update_to_bin=median)
    assert (whole.weights, whole.changed, whole.code_flip_rate, whole.floor_survival) == (128, 6, 2 / 64, 2 / 3)


def test_a_code_that_flips_because_the_scale_grew_is_no_survival_of_an_update() -> None:
    base = torch.full((1, 64), 0.1)
    base[0, 0] = 1.0
    candidate = base.clone()
    candidate[0, 0] = 4.0  # keeps code 15; every 0.1 falls from level .08 to level 0
    found, _ = count((base, candidate))
    assert (found.changed, found.flipped, found.survived) == (1, 63, 0)


def test_median_over_pieces_is_that_of_the_concatenated_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn_guard.quantizers.tally._HELD", 500)
    expected: list[float] = []
    pairs = []
    for seed, size in enumerate([640, 64, 6400]):
        base, update = random_weight((1, size), seed=seed), random_weight((1, size), seed=100 + seed, scale=0.004)
        update[0, ::3] = 0
        pairs.append((base, base + update))
        changed = (base + update) != base
        expected += ((base + update - base).abs() / grid.bin_width(grid.codes(base)))[changed].tolist()
    found, median = count(*pairs)
    exact = nf4_by_hand.median_low(expected)
    assert median is not None
    assert exact * (1 - 1 / 4096) <= median <= exact
    assert found.changed == len(expected)


def test_nothing_changed_has_no_median_and_no_survival() -> None:
    weight = random_weight((2, 64))
    found, median = count((weight, weight.clone()))
    assert (found.weights, found.changed, found.flipped, median) == (128, 0, 0, None)
    assert drift.Drift(layers=(found,), update_to_bin=median).code_flip_rate == 0.0
    assert drift.Drift(layers=(found,), update_to_bin=median).floor_survival is None
    assert drift.Drift(layers=(), update_to_bin=None).code_flip_rate is None


def test_an_update_in_a_block_of_zeros_is_infinitely_many_cells() -> None:
    found, median = count((torch.zeros(1, 64), torch.ones(1, 64)))
    assert median == math.inf
    assert found.ratios[-1] == 64


def test_weights_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(128,\)"):
        count((torch.zeros(2, 64), torch.zeros(63, 2)))


def test_octaves_are_those_of_each_weight_s_own_ratio() -> None:
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(64, 64, generator=draw)
    update = torch.randn(64, 64, generator=draw) * 10 ** torch.empty(64, 64).uniform_(-7, 2, generator=draw)
    candidate = torch.where(torch.rand(64, 64, generator=draw) < 0.7, base + update, base)
    low, high = RATIO_OCTAVES
    expected = [0] * (high - low + 1)
    for before, after, width in zip(
        base.flatten().tolist(),
        candidate.flatten().tolist(),
        grid.bin_width(grid.codes(base)).flatten().tolist(),
        strict=True,
    ):
        if before != after:
            exponent = math.frexp(abs(after - before) / width)[1] - 1
            expected[min(max(exponent, low), high) - low] += 1
    found, _ = count((base, candidate))
    assert sum(found.ratios) == int((base != candidate).sum())
    # A ratio within one float32 step of a power of two may fall on either side.
    assert sum(abs(a - b) for a, b in zip(found.ratios, expected, strict=True)) <= 2
    assert found.ratios[0]
    assert found.ratios[-1]


def as_counted_before(base: Tensor, candidate: Tensor) -> tuple[LayerDrift, float | None]:
    found = grid_counts.count(base, candidate)
    low, high = RATIO_OCTAVES
    places = (torch.arange(256) - 127).clamp(low, high) - low
    octaves = torch.zeros(high - low + 1, dtype=torch.int64).index_add_(0, places, found.ratios.view(256, -1).sum(1))
    whole = LayerDrift(
        layer="layer",
        weights=found.weights,
        changed=found.changed,
        flipped=found.flipped,
        survived=found.survived,
        ratios=tuple(octaves.tolist()),
    )
    return whole, found.update_to_bin


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 700),
    seed=st.integers(0, 2**31),
    dtypes=st.tuples(*[st.sampled_from((torch.float32, torch.bfloat16, torch.float16))] * 2),
    zeros=st.booleans(),
    scale=st.sampled_from((1e-6, 1e-3, 1.0)),
)
def test_counts_are_bit_for_bit_those_of_the_literal_counting(
    size: int, seed: int, dtypes: tuple[torch.dtype, torch.dtype], zeros: bool, scale: float
) -> None:
    base = random_weight((size,), seed=seed)
    if zeros:
        base[: size // 2] = 0
    candidate = torch.where(random_weight((size,), seed=seed + 1) > 0, base, base + random_weight((size,), seed, scale))
    before, after = (one.to(dtype) for one, dtype in zip((base, candidate), dtypes, strict=True))
    pieces = zip(before.split(128), after.split(128), strict=True)
    assert count(*pieces) == as_counted_before(before, after)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_a_checkpoint_is_counted_as_its_tensors_are_whatever_the_size_of_a_piece(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers that are stored [in, out] are counted as they are quantized, experts one matrix at a time."""
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))
    monkeypatch.setattr(drift, "PIECE", 192)
    model = build(family)
    base = open_sealed(str(save(model, tmp_path / "base"))).checkpoint
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(torch.randn(each.shape, generator=draw), alpha=0.01)
    candidate = open_sealed(str(save(model, tmp_path / "candidate"))).checkpoint
    found = drift.measure(base, candidate, lambda _: None)
    expected = grid_counts.EMPTY
    for name in drift.coverage(base.path).units:
        before, after = (read_tensor(stored_tensors(each), name) for each in (base, candidate))
        turned: Callable[[Tensor], Tensor] = (lambda one: one.T) if family == "gpt2" else (lambda one: one)
        stack = zip(before, after, strict=True) if before.dim() == 3 else [(turned(before), turned(after))]
        expected = sum((grid_counts.count(a.contiguous(), b.contiguous()) for a, b in stack), start=expected)
    assert (found.weights, found.changed) == (expected.weights, expected.changed)
    assert found.code_flip_rate == expected.code_flip_rate
    assert found.floor_survival == expected.floor_survival
    assert found.update_to_bin == expected.update_to_bin


def test_pieces_of_a_tensor_are_the_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one whose bytes lie in several places, as experts stored one by one do."""
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))
    found = open_sealed(str(save(build("mixtral"), tmp_path / "base"))).checkpoint
    tensors = stored_tensors(found)
    name = max(tensors, key=lambda each: len(tensors[each].spans))
    assert len(tensors[name].spans) > 1
    pieces = list(read_pieces(tensors, name, 1000))
    assert {piece.numel() for piece in pieces[:-1]} == {1000}
    assert torch.equal(torch.cat(pieces), read_tensor(tensors, name).reshape(-1))
