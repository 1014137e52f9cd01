"""A code may differ only on the boundary of two cells, to within float32's rounding."""

import torch

from unlearn_guard.quantizers import grid
from unlearn_guard.quantizers.lineage import FP4_LEVELS, Packed, count_wrong


def packed(code: list[int], scale: float = 1.0, nested: int | None = None) -> Packed:
    return Packed(code=torch.tensor(code, dtype=torch.uint8), absmax=torch.tensor([scale]), block=64, nested=nested)


def test_a_boundary_by_hand() -> None:
    """Levels 7 and 8 are 0 and 0.0796: their boundary is 0.0398. Just at it both codes will do, 1e-5 above only 8."""
    boundary = float(grid.BOUNDARIES[7])
    for weight, right in ((boundary, {7, 8}), (boundary + 1e-5, {8}), (boundary - 1e-5, {7}), (0.0, {7})):
        accepted = {code for code in range(16) if count_wrong(packed([15, code]), torch.tensor([1.0, weight]))[0] == 0}
        assert accepted == right


def test_the_grid_s_own_codes_are_accepted_and_every_other_is_counted() -> None:
    weight = torch.randn(40, 33, generator=torch.Generator().manual_seed(0))
    found = grid.codes(weight)
    own = Packed(code=found.code.reshape(-1), absmax=found.absmax, block=64, nested=None)
    assert count_wrong(own, weight) == (0, 0)
    shifted = Packed(code=(own.code + 1) % 16, absmax=found.absmax, block=64, nested=None)
    assert count_wrong(shifted, weight)[0] == weight.numel()


def test_scales_are_exact_unless_they_were_quantized_again() -> None:
    weight = torch.cat([torch.full((64,), 0.5), torch.full((64,), 1.0)])
    code = torch.full((128,), 15, dtype=torch.uint8)
    for absmax, nested, wrong in (
        ([0.5, 1.0], None, 0),
        ([0.5, 1.001], None, 1),
        ([0.5, 1.001], 256, 0),  # the scales range 0.25 to either side of their mean: 0.0025 is allowed
        ([0.5, 1.01], 256, 1),
    ):
        one = Packed(code=code, absmax=torch.tensor(absmax), block=64, nested=nested)
        assert count_wrong(one, weight) == (0, wrong)


def test_a_block_of_zeros() -> None:
    assert count_wrong(packed([7] * 64, 0.0), torch.zeros(64)) == (0, 0)
    assert count_wrong(packed([8] * 64, 0.0), torch.zeros(64)) == (64, 0)


def test_fp4_s_levels_are_the_library_s() -> None:
    from bitsandbytes.functional import get_4bit_type

    assert torch.allclose(FP4_LEVELS, get_4bit_type("fp4", device="cpu"), atol=1e-6)
