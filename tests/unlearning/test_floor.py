import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import grid_counts
from tests.quantizers.test_grid import bitsandbytes_codes
from unlearn_guard.errors import NonFiniteError, QuantizationError
from unlearn_guard.quantizers import grid
from unlearn_guard.unlearning import floor
from unlearn_guard.unlearning.floor import cell_floor, outside, paper_floor, reach

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@st.composite
def edits(draw):
    """A base weight and an edit: any size, small and large updates, zeros, ties, ends of cells, moved maxima."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = draw(st.one_of(st.integers(1, 70), st.integers(1, 500)))
    scale = 10.0 ** draw(st.integers(-6, 2))
    dtype = draw(st.sampled_from(DTYPES))
    base = torch.randn(1, size, generator=rng) * scale
    kind = draw(st.sampled_from(("plain", "zeros", "ties", "ends", "empty")))
    chosen = torch.rand(1, size, generator=rng) < 0.4
    if kind == "zeros":
        base[chosen] = 0.0
    elif kind == "ties":
        base[chosen] = base.abs().max() * base.sign()[chosen]
    elif kind == "ends":
        base[:] = grid.BOUNDARIES[torch.randint(0, 15, (1, size), generator=rng)] * scale
        base[0, ::7] = scale
    elif kind == "empty":
        base[0, : draw(st.integers(0, size))] = 0.0
    base = base.to(dtype)
    update = torch.randn(1, size, generator=rng) * scale * 10.0 ** draw(st.integers(-4, 1))
    update[torch.rand(1, size, generator=rng) < draw(st.floats(0, 1))] = 0.0
    if draw(st.booleans()):  # the largest weight of each block grows, shrinks or turns round
        largest = base.float().abs() >= grid.codes(base).absmax.repeat_interleave(64)[:size]
        update[largest] = base.float()[largest] * draw(st.sampled_from((-2.0, -0.9, -0.5, 0.01, 3.0)))
    return base, base.float() + update


@settings(max_examples=400, deadline=None)
@given(edits())
def test_every_changed_weight_has_another_code(edit):
    base, edited = edit
    floored = cell_floor(base, edited)
    assert floored.dtype == base.dtype
    assert grid_counts.count(base, floored).floor_survival in (1.0, None)
    before, after = bitsandbytes_codes(base)[0], bitsandbytes_codes(floored)[0]
    assert (before != after)[floored != base].all()


@settings(max_examples=200, deadline=None)
@given(edits())
def test_directions_are_kept_and_what_did_not_change_stays(edit):
    base, edited = edit
    floored, update = cell_floor(base, edited), edited.to(base.dtype).float() - base.float()
    moved = floored.float() - base.float()
    assert ((moved.sign() == update.sign()) | (moved == 0)).all()
    assert torch.equal(floored[update == 0], base[update == 0])


@settings(max_examples=200, deadline=None)
@given(edits())
def test_the_scale_of_a_block_stays_unless_it_was_zero(edit):
    base, edited = edit
    for before, after in zip(base.split(64, 1), cell_floor(base, edited).split(64, 1), strict=True):
        assert before.abs().max() in (0, after.abs().max())


@settings(max_examples=100, deadline=None)
@given(edits())
def test_a_floor_on_a_floor_changes_nothing(edit):
    base, edited = edit
    once = cell_floor(base, edited)
    assert torch.equal(cell_floor(base, once), once)


def gaussian(shape=(64, 256), dtype=torch.bfloat16, seed=0, update=1e-4):
    rng = torch.Generator().manual_seed(seed)
    base = (torch.randn(shape, generator=rng) * 0.02).to(dtype)
    return base, base.float() + torch.randn(shape, generator=rng) * update


def test_nearly_all_updates_of_an_ordinary_weight_survive():
    """The largest of 64 stays, and of the outermost cells those that would go further out: some four in a hundred."""
    base, edited = gaussian(dtype=torch.float32)
    floored = cell_floor(base, edited)
    assert 0.94 < (floored != base).float().mean() < 1 - 1 / 64


def test_a_push_worked_out_by_hand():
    """Scale 2. 0.3 lies in (.24051, .40704]: to .40704 (1 + 1/256) = .40863 or .24051 (1 - 1/256) = .23957."""
    base = torch.zeros(1, 64)
    base[0, 0], base[0, 1:5] = 2.0, 0.3
    edited = base.clone()
    edited[0, 0], edited[0, 1], edited[0, 2], edited[0, 3] = 5.0, 0.301, 0.299, 1.9
    floored = cell_floor(base, edited)
    assert floored[0, :5].tolist() == pytest.approx([2.0, 0.40863, 0.23957, 1.9, 0.3], abs=1e-5)


def test_outermost_cells_have_no_way_out():
    base = torch.zeros(1, 64)
    base[0, 0], base[0, 1], base[0, 2] = 1.0, 0.95, -0.95
    edited = base + torch.tensor([0.0, 0.01, -0.01, *[0.0] * 61])
    assert torch.equal(cell_floor(base, edited), base)
    inwards = cell_floor(base, base - torch.tensor([0.0, 0.01, -0.01, *[0.0] * 61]))
    assert inwards[0, 1:3].tolist() == pytest.approx([0.86148 * (1 - 2**-8), -0.84810 * (1 - 2**-8)], abs=1e-5)


def test_a_block_of_zeros_takes_its_scale_from_the_edit():
    base, edited = torch.zeros(1, 64), torch.zeros(1, 64)
    edited[0, :3] = torch.tensor([0.5, 1e-6, -1e-6])
    floored = cell_floor(base, edited)
    assert floored[0, :3].tolist() == pytest.approx(
        [0.5, 0.5 * 0.03979 * (1 + 2**-8), -0.5 * 0.04553 * (1 + 2**-8)], abs=1e-5
    )
    assert grid_counts.count(base, floored).floor_survival == 1.0


def survival(base, edited, how):
    return grid_counts.count(base, how(base, edited)).floor_survival


def test_without_a_margin_bf16_brings_weights_back(monkeypatch):
    """The mutation: pushed to the very end of the cell, and then rounded; the last resort hides it by giving up."""
    base, edited = gaussian()
    kept = (cell_floor(base, edited) != base).float().mean()
    monkeypatch.setattr(floor, "MARGIN", 0.0)
    assert (cell_floor(base, edited) != base).float().mean() < kept - 0.2


def test_a_floor_that_lets_the_largest_weight_move_does_not_hold():
    """The mutation: the block's scale grows, and weights that had left their cells fall back."""
    base, edited = gaussian(dtype=torch.float32)
    largest = base.abs().view(-1, 64) == grid.codes(base).absmax[:, None]
    moved = torch.where(largest.view(base.shape), base * 1.3, cell_floor(base, edited))
    assert grid_counts.count(base, moved).floor_survival < 0.9


def test_the_papers_floor_does_not_guarantee_survival():
    """Three in four Gaussian weights moved by delta change their code, also when their block's scale is recomputed."""
    base, edited = gaussian(dtype=torch.float32, shape=(256, 256))
    assert 0.68 < survival(base, edited, paper_floor) < 0.8
    assert survival(base, edited, lambda _, moved: moved) < 0.05


def test_the_papers_floor_by_hand():
    """Two blocks of scale 1 and 3: delta = 2 * .0795803. A larger update stays as it is."""
    base = torch.zeros(2, 64)
    base[0, 0], base[1, 0] = 1.0, 3.0
    edited = base.clone()
    edited[0, 1:4] = torch.tensor([0.01, -0.01, 0.2])
    floored = paper_floor(base, edited)
    assert floored[0, 1:4].tolist() == pytest.approx([0.1591606, -0.1591606, 0.2], abs=1e-6)
    assert torch.equal(floored[:, 4:], base[:, 4:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_papers_floor_keeps_directions_and_what_did_not_change(dtype):
    base, edited = gaussian(dtype=dtype)
    edited[::2] = base[::2].float()
    floored = paper_floor(base, edited)
    assert floored.dtype == dtype
    assert torch.equal(floored[::2], base[::2])
    update = edited.to(dtype).float() - base.float()
    assert torch.equal((floored.float() - base.float()).sign(), update.sign())


def test_reach_is_one_where_the_next_cell_begins():
    base = torch.zeros(1, 64)
    base[0, 0], base[0, 1:4], base[0, 4] = 2.0, 0.3, 1.9
    edited = base.clone()
    edited[0, :5] = torch.tensor([1.0, 0.40863, 0.3 - 0.06043 / 2, 0.3, 1.95])
    assert reach(base, edited)[0, :5].tolist() == pytest.approx([0.0, 1.0, 0.5, 0.0, 0.0], abs=1e-3)
    assert reach(torch.zeros(1, 64), edited)[0, 0] == float("inf")


@settings(max_examples=100, deadline=None)
@given(edits())
def test_what_has_no_reach_is_what_the_floor_puts_back(edit):
    base, edited = edit
    if base.dtype == torch.float32:  # the others may be too coarse for the next cell
        assert torch.equal(reach(base, edited) > 0, cell_floor(base, edited) != base)


@settings(max_examples=200, deadline=None)
@given(edits(), st.integers(0, 2**31))
def test_anywhere_within_bounds_a_floored_edit_survives(edit, seed):
    base, edited = edit
    floored = cell_floor(base, edited)
    low, high = outside(base, floored)
    assert ((low <= floored) & (floored <= high)).all()
    drawn = low + (high.float() - low) * torch.rand(base.shape, generator=torch.Generator().manual_seed(seed))
    moved = drawn.clamp(low.float(), high.float()).to(base.dtype)
    for corner in (low, high, moved) if base.dtype != torch.float16 else ():  # fp16 is coarse below 6e-5
        assert grid_counts.count(base, corner).floor_survival in (1.0, None)
        assert torch.equal(corner == base, floored == base)


def test_an_edit_that_is_no_number_is_refused():
    base, edited = gaussian()
    edited[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="lower lr"):
        cell_floor(base, edited)


def test_a_floor_under_which_a_weight_kept_its_code_is_refused(monkeypatch):
    """Also where asserts are left out: no candidate is made of it."""
    base = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(floor.torch, "where", lambda *_: base + 1e-6)
    with pytest.raises(QuantizationError, match="kept its NF4 code"):
        cell_floor(base, base + 1e-6)
