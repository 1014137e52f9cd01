"""RMU: forget activations go to c u, retain activations stay."""

import math

import pytest
import torch

from tests.methods.shipped import method, module
from tests.unlearning.small import CPU, corpora, llama, moved, weights
from unlearn_guard.unlearning.activations import leaving
from unlearn_guard.unlearning.corpora import Text, batch
from unlearn_guard.unlearning.session import Session, opened

DOWN = "model.layers.{}.mlp.down_proj.weight"
QUICK = {"steps": 50, "lr": 1e-2, "c": 4.0, "alpha": 2.0, "batch_size": 6}
WIDE = {"layers": 6, "intermediate_size": 256}


def hidden(model, texts, layer):
    """What the layer returns at every token of every text [N, D]."""
    asked = batch(texts, range(len(texts)), CPU)
    with torch.no_grad():
        return leaving(model, asked, f"model.layers.{layer}")[asked.mask_BT]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forget_activations_go_to_c_u_and_retain_activations_stay(dtype):
    """At its own layer, 1 of 6; what is left of the distance is less than half, and retain moves far less."""
    model, data = llama(dtype=dtype, **WIDE), corpora()
    goal = QUICK["c"] * module("rmu").direction(32, 5)
    before = {name: hidden(model, getattr(data, name), 1) for name in ("forget", "retain")}
    method("rmu", **QUICK).unlearn(model, data, seed=5)
    after = {name: hidden(model, getattr(data, name), 1) for name in ("forget", "retain")}
    toward = (after["forget"] - goal).norm(dim=1).mean() / (before["forget"] - goal).norm(dim=1).mean()
    strayed = [(after[name] - before[name]).norm(dim=1).mean().item() for name in ("forget", "retain")]
    assert toward < 0.5
    assert strayed[1] < 0.5 * strayed[0]


def test_without_alpha_retain_activations_stray():
    """What the second term is for."""
    strayed = []
    for alpha in (0.0, 2.0):
        model, data = llama(**WIDE), corpora()
        before = hidden(model, data.retain, 1)
        method("rmu", **{**QUICK, "alpha": alpha}).unlearn(model, data, seed=5)
        strayed.append((hidden(model, data.retain, 1) - before).norm().item())
    assert strayed[1] < 0.6 * strayed[0]


@pytest.mark.parametrize(("layers", "trained"), [(32, {5, 6, 7}), (16, {2, 3}), (6, {1}), (3, {0}), (1, {0})])
def test_trains_the_down_projections_of_5_to_7_of_32(layers, trained):
    """Of 6 layers all three fall on layer 1, of 3 on layer 0: one is trained, the one whose output is compared."""
    model = llama(layers=layers, hidden_size=8, intermediate_size=8)
    before = weights(model)
    method("rmu", **{**QUICK, "steps": 2}).unlearn(model, corpora(), seed=0)
    assert moved(model, before) == {DOWN.format(layer) for layer in trained}


def test_u_is_a_unit_vector_by_the_seed():
    """Entries uniform in [0, 1) before it is scaled: none negative, the largest about twice the mean."""
    u = module("rmu").direction(4096, 3)
    assert u.norm().item() == pytest.approx(1.0, rel=1e-5)
    assert u.min() >= 0
    assert (u.max() / u.mean()).item() == pytest.approx(2.0, rel=0.05)
    assert torch.equal(u, module("rmu").direction(4096, 3))
    assert not torch.equal(u, module("rmu").direction(4096, 4))


def test_the_loss_by_hand():
    """Width 2, texts of 2 and 3 tokens: squares 1, 4 + 4, 9, halved, over 5 tokens; padding is nothing."""
    asked = batch([Text(ids=(3, 4), start=1), Text(ids=(3, 4, 5), start=1)], [0, 1], CPU)
    found = torch.tensor([[[1.0, 0.0], [2.0, 2.0], [99.0, 99.0]], [[0.0, 3.0], [0.0, 0.0], [0.0, 0.0]]])
    assert module("rmu").mse(found, torch.zeros(2), asked).item() == pytest.approx((0.5 + 4 + 4.5) / 5)


def test_at_base_the_second_term_is_0():
    session = Session()
    with opened(session):
        method("rmu", **{**QUICK, "steps": 3}).unlearn(llama(), corpora(), seed=0)
    assert session.curve[0].retain == 0.0
    assert session.curve[2].retain > 0
    assert math.isfinite(session.curve[2].forget)
