import bitsandbytes.functional as bnb
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import nf4_by_hand
from unlearn_guard.quantizers import grid


def bitsandbytes_codes(weight):
    """Codes and scales as bitsandbytes itself stores them, unpacked."""
    packed, state = bnb.quantize_4bit(weight.contiguous(), quant_type="nf4", blocksize=64, compress_statistics=False)
    both = torch.stack([packed.view(-1) >> 4, packed.view(-1) & 0xF], 1).view(-1)
    return both[: weight.numel()].view(weight.shape), state


def random_weight(shape, dtype=torch.float32, seed=0, scale=0.05):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def test_levels_are_those_of_bitsandbytes():
    assert torch.equal(grid.LEVELS, bnb.get_4bit_type("nf4", device="cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 128), (384, 128), (3, 100), (5, 50), (1, 64), (7, 2), (200, 321)])
def test_codes_and_scales_equal_those_of_bitsandbytes(shape, dtype):
    weight = random_weight(shape, dtype, seed=sum(shape))
    theirs, state = bitsandbytes_codes(weight)
    ours = grid.codes(weight)
    assert torch.equal(ours.code, theirs)
    assert torch.equal(ours.absmax, state.absmax)


def test_dequantized_weights_equal_those_of_bitsandbytes():
    weight = random_weight((96, 128))
    packed, state = bnb.quantize_4bit(weight, quant_type="nf4", blocksize=64)
    assert torch.equal(grid.dequantize(grid.codes(weight)), bnb.dequantize_4bit(packed, state))


def test_codes_equal_those_of_bitsandbytes_for_zeros_ties_and_single_spikes():
    weight = torch.zeros(4, 64)
    weight[1, 5] = -0.25  # a scale set by a negative weight
    weight[2, 0], weight[2, 1:16] = 1.0, grid.BOUNDARIES  # exactly on every boundary
    weight[3] = 1e-30
    theirs, state = bitsandbytes_codes(weight)
    ours = grid.codes(weight)
    assert torch.equal(ours.code, theirs)
    assert torch.equal(ours.absmax, state.absmax)
    assert ours.code[0].unique().tolist() == [7]
    assert ours.code[2, 1:16].tolist() == list(range(15))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**31))
def test_codes_equal_the_literal_oracle(size, seed):
    weight = random_weight((1, size), seed=seed)
    found, scales = nf4_by_hand.nf4(weight.view(-1).tolist())
    ours = grid.codes(weight)
    assert ours.code.view(-1).tolist() == found
    assert ours.absmax.tolist() == scales


def test_blocks_run_on_across_rows():
    """With rows of 32, two rows share a scale; a grid per row would give each its own."""
    weight = torch.full((2, 32), 0.1)
    weight[1, 0] = 1.0
    ours = grid.codes(weight)
    assert ours.absmax.tolist() == [1.0]
    assert ours.code[0].unique().tolist() == [8]  # 0.1 lies between .0398 and .1203


def test_cell_of_a_weight_worked_out_by_hand():
    """Scale 2: 0.3 is 0.15 of it, level .16093, cell (.120255, .203521], or (.24051, .40704] in weight units."""
    weight = torch.zeros(1, 64)
    weight[0, 0], weight[0, 1] = 2.0, 0.3
    ours = grid.codes(weight)
    low, high = grid.cells(ours)
    assert ours.code[0, 1] == 9
    assert low[0, 1] == pytest.approx(0.24051, abs=1e-5)
    assert high[0, 1] == pytest.approx(0.40704, abs=1e-5)
    assert grid.bin_width(ours)[0, 1] == pytest.approx(0.16653, abs=1e-5)
    assert high[0, 0] == 2.0  # the outer cell ends at the scale
    assert grid.bin_width(ours)[0, 0] == pytest.approx(2 * (1 - 0.86148), abs=1e-5)


def test_a_weight_moved_anywhere_inside_its_cell_keeps_its_code():
    weight = random_weight((32, 128), seed=3)
    before = grid.codes(weight)
    low, high = grid.cells(before)
    inside = low + (high - low) * (0.001 + 0.998 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)))
    scale = before.absmax.repeat_interleave(64).view(weight.shape)
    moved = torch.where(weight.abs() == scale, weight, inside)
    assert torch.equal(grid.codes(moved).code, before.code)
    assert torch.equal(grid.codes(moved).absmax, before.absmax)
    beyond = torch.where((weight.abs() == scale) | (high >= scale), weight, high * 1.001 + 1e-7)
    assert not torch.equal(grid.codes(beyond).code, before.code)


def test_a_code_is_looked_up_as_it_is_searched_for_at_and_beside_every_boundary_and_every_step_of_the_table():
    """Where a boundary lies, next to it, at the ends of the table's 4 bits of mantissa, and anywhere else."""
    steps = (torch.arange(1 << 13) << 19).to(torch.int32)
    steps = torch.cat([steps, steps - 1, steps + 1, grid.BOUNDARIES.view(torch.int32)]).view(torch.float32)
    near = torch.cat([steps, grid.BOUNDARIES.nextafter(torch.tensor(2.0)), grid.BOUNDARIES.nextafter(-torch.ones(1))])
    drawn = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    scaled = torch.cat([near[near.isfinite()], drawn, torch.tensor([0.0, -0.0, 1.0, -1.0])]).clamp(-1, 1)
    assert torch.equal(grid._nearest(scaled).int(), torch.bucketize(scaled, grid.BOUNDARIES, out_int32=True))
