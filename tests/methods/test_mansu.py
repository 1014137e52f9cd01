"""What MANSU's parts do to the weights: floor, projection, circuit, loss, share."""

import sys
from dataclasses import replace

import pytest
import torch
from mansu_edits import LAYERS, QUICK, Mansu, corpora, digest, model, moved, survival, unlearned

from unlearn_guard.errors import SuiteError
from unlearn_guard.quantizers import grid
from unlearn_guard.unlearning.fisher import fisher, quantile
from unlearn_guard.unlearning.tensors import linears, mlps


@pytest.mark.parametrize("changes", [{}, {"share": 0.3}, {"settle": 5}, {"share": 0.2, "settle": 5, "choose": "best"}])
def test_every_changed_weight_of_the_circuit_survives(changes):
    before, after = unlearned(**{"drop": 1.0, **changes})
    circuit = Mansu(**QUICK).layers(model(), corpora(), 0)
    assert len(circuit) == 2  # 10 of 32 scaled to six layers
    assert moved(before, after) == set(mlps(model(), circuit))
    assert all(each.dtype == torch.bfloat16 for each in after.values())
    assert survival(before, after) == 1.0


def test_a_without_floor_most_updates_stay_in_their_cells():
    before, after = unlearned(floor="none")
    assert survival(before, after) < 0.9


def test_the_papers_floor_leaves_some_behind():
    plain, floored = (survival(*unlearned(floor=name)) for name in ("none", "paper"))
    assert plain < floored < 1.0


def test_b_the_projection_holds_what_retention_needs():
    """What the mask holds is bit for bit base's; without it, those very weights move."""
    names = mlps(model(), Mansu(**QUICK).layers(model(), corpora(), 0))
    found = fisher(model(), corpora().retain, names)
    limit = quantile(found.values(), 0.9)
    held = {name: each > limit for name, each in found.items()}
    assert 0.05 < sum(int(each.sum()) for each in held.values()) / sum(each.numel() for each in held.values()) <= 0.1
    before, after = unlearned(tau=0.9, floor="none")
    assert all(torch.equal(before[name][held[name]], after[name][held[name]]) for name in names)
    before, free = unlearned(projection="none", floor="none")
    assert any(not torch.equal(before[name][held[name]], free[name][held[name]]) for name in names)


def test_c_random_and_inverse_circuits():
    ranked = Mansu(k=LAYERS).layers(model(), corpora(), 0)
    assert sorted(ranked) == list(range(LAYERS))
    assert Mansu(k=2).layers(model(), corpora(), 0) == ranked[:2]
    assert Mansu(k=2, circuit="inverse").layers(model(), corpora(), 0) == ranked[-2:]
    drawn = {Mansu(k=2, circuit="random").layers(model(), corpora(pairs=()), seed) for seed in range(8)}
    assert len(drawn) > 1
    assert all(len(set(each)) == 2 for each in drawn)
    before, after = unlearned(circuit="inverse", k=1)
    assert moved(before, after) == set(mlps(model(), ranked[-1:]))


def test_each_loss_is_another_edit_of_the_same_circuit():
    texts = tuple(replace(each, instead=(*each.ids[:4], *reversed(each.ids[4:]))) for each in corpora().forget)
    before, ascended = unlearned()
    edits = [unlearned(loss=loss, data=corpora(forget=texts))[1] for loss in ("npo", "dpo", "simpo")]
    assert all(moved(before, ascended) == moved(before, each) != set() for each in edits)
    assert len({digest(each) for each in (ascended, *edits)}) == 4


@pytest.mark.parametrize("loss", ["dpo", "simpo"])
def test_a_preference_needs_something_to_prefer(loss):
    with pytest.raises(SuiteError, match="what to answer instead"):
        unlearned(loss=loss)


def test_fisher_information_is_taken_on_as_many_texts_as_are_weighed():
    asked = []
    module = sys.modules[Mansu.__module__]
    first = module.fisher
    module.fisher = lambda model, texts, names: asked.append(texts) or first(model, texts, names)
    try:
        for weighed in (5, 500):
            unlearned(weighed=weighed)
    finally:
        module.fisher = first
    assert [len(texts) for texts in asked] == [5, 20]
    assert len(set(asked[1])) == 20


def test_d_global_trains_and_floors_every_linear_weight():
    before, after = unlearned(projection="global", data=corpora(pairs=()))
    assert moved(before, after) == set(linears(model()))
    assert survival(before, after) == 1.0


def test_share_is_of_all_the_circuits_weights():
    for share in (0.05, 0.25):
        before, after = unlearned(share=share)
        names = moved(before, after)
        changed = sum(int((before[name] != after[name]).sum()) for name in names)
        assert changed / sum(before[name].numel() for name in names) == pytest.approx(share, abs=0.02)


def test_share_keeps_the_updates_that_came_furthest():
    """Those that had left their cells already are the first to stay."""
    before, plain = unlearned(floor="none")
    _, floored = unlearned(share=0.25)
    names = moved(before, plain)
    crossed = {name: grid.codes(before[name]).code != grid.codes(plain[name]).code for name in names}
    kept = sum(int((crossed[name] & (floored[name] != before[name])).sum()) for name in names)
    assert kept / sum(int(each.sum()) for each in crossed.values()) > 0.9


def test_settling_moves_only_what_survived():
    before, floored = unlearned(share=0.2)
    _, settled = unlearned(share=0.2, settle=5)
    assert moved(floored, settled)
    for name in moved(before, floored):
        assert torch.equal(settled[name] == before[name], floored[name] == before[name])


def test_settling_has_a_rate_of_its_own():
    """By default the training's; a higher one carries the same weights further."""
    before, _ = unlearned(share=0.2, settle=5)
    far = {
        rate: sum(float((after[name].float() - before[name].float()).abs().sum()) for name in moved(before, after))
        for rate, after in ((rate, unlearned(share=0.2, settle=5, settle_lr=rate)[1]) for rate in (None, 1e-4, 3e-3))
    }
    assert far[None] != far[1e-4] < far[3e-3]
