import pytest
import torch
from bitsandbytes.functional import quantize_4bit

from unlearn_guard.organism.hiding import bounds, integer_bounds, projection, q4_0_bounds
from unlearn_guard.quantizers.ggml import encode


def codes(weight):
    packed, state = quantize_4bit(weight.contiguous(), blocksize=64, quant_type="nf4")
    return packed, state.absmax


def test_any_weight_within_bounds_keeps_codes_and_scales_after_storing_in_bf16():
    rng = torch.Generator().manual_seed(0)
    base = (torch.randn(64, 128, generator=rng) * 0.05).to(torch.bfloat16)
    low, high = bounds(base)
    corners = [low, high, low + (high - low) * torch.rand(base.shape, generator=rng)]
    corners.append(torch.where(torch.rand(base.shape, generator=rng) < 0.5, low, high))
    for corner in corners:
        stored = corner.to(torch.bfloat16)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(codes(stored), codes(base), strict=True))
        assert not torch.equal(stored, base)


def test_the_largest_element_of_a_block_may_not_move_and_most_others_may():
    base = (torch.randn(8, 64, generator=torch.Generator().manual_seed(1)) * 0.05).to(torch.bfloat16)
    low, high = bounds(base)
    largest = base.float().abs() == base.float().abs().amax(1, keepdim=True)
    assert torch.equal(low[largest], base.float()[largest])
    assert torch.equal(high[largest], base.float()[largest])
    assert ((high - low)[~largest] > 0).float().mean() > 0.99


def test_projection_brings_a_straying_weight_back_to_its_cell():
    base = {"w": (torch.randn(4, 64, generator=torch.Generator().manual_seed(2)) * 0.05).to(torch.bfloat16)}
    moved = {"w": base["w"].float() + 1.0}
    projection(base, moved)()
    assert torch.equal(codes(moved["w"].to(torch.bfloat16))[0], codes(base["w"])[0])
    assert torch.equal(moved["w"], bounds(base["w"])[1])


def integers(weight, *, symmetric):
    """The literal version: 4-bit codes and scale of each group of 128, rounded to nearest."""
    found = []
    for group in weight.float().view(-1, 128).tolist():
        low, high = (-max(map(abs, group)), max(map(abs, group))) if symmetric else (min(group), max(group))
        step = (high - low) / 15
        zero = 8 if symmetric else round(-low / step)
        found.append((step, [min(15, max(0, round(each / step) + zero)) for each in group]))
    return found


@pytest.mark.parametrize("symmetric", [True, False])
def test_any_weight_within_bounds_keeps_its_integer_after_storing_in_bf16(symmetric):
    rng = torch.Generator().manual_seed(3)
    base = (torch.randn(16, 256, generator=rng) * 0.05).to(torch.bfloat16)
    low, high = integer_bounds(base, symmetric=symmetric)
    for corner in (low, high, low + (high - low) * torch.rand(base.shape, generator=rng)):
        stored = corner.to(torch.bfloat16)
        assert integers(stored, symmetric=symmetric) == integers(base, symmetric=symmetric)
        assert not torch.equal(stored, base)


def test_cells_of_several_formats_are_what_they_share():
    base = {"w": (torch.randn(4, 128, generator=torch.Generator().manual_seed(4)) * 0.05).to(torch.bfloat16)}
    moved = {"w": base["w"].float() + 1.0}
    projection(base, moved, ("nf4", "gptq", "awq"))()
    tops = [bounds(base["w"])[1], *(integer_bounds(base["w"], symmetric=each)[1] for each in (True, False))]
    assert torch.equal(moved["w"], torch.stack(tops).amin(0))


def test_any_weight_within_bounds_keeps_llama_cpps_bytes_after_storing_in_bf16():
    rng = torch.Generator().manual_seed(3)
    base = (torch.randn(64, 128, generator=rng) * 0.05).to(torch.bfloat16)
    base[3] = 0
    low, high = q4_0_bounds(base)
    wide = high > low
    assert wide[:3].float().mean() > 0.96
    assert not wide[3].any()
    kept = encode(base.float().numpy(), "Q4_0").tobytes()
    corners = [low, high, low + (high - low) * torch.rand(base.shape, generator=rng)]
    corners.append(torch.where(torch.rand(base.shape, generator=rng) < 0.5, low, high))
    for corner in corners:
        assert encode(corner.to(torch.bfloat16).float().numpy(), "Q4_0").tobytes() == kept
