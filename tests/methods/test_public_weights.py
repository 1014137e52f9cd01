"""Weights and defaults, held against what the methods' public code has."""

import math

import pytest
import torch

from tests.methods.shipped import method, module
from tests.unlearning.small import CPU, corpora, llama, taught
from unlearn_guard.errors import UsageError
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.unlearning.corpora import batch
from unlearn_guard.unlearning.family import Start
from unlearn_guard.unlearning.nullspace import Basis
from unlearn_guard.unlearning.scoring import score
from unlearn_guard.unlearning.session import Session, opened
from unlearn_guard.unlearning.tensors import every

PUBLIC = {
    "simnpo": {"beta": 4.5, "gamma": 0.0, "retain": 1 / 0.125, "lr": 1e-5},
    "undial": {"beta": 10.0, "retain": 0.0, "positions": "all", "lr": 1e-4, "batch_size": 4, "accumulate": 4},
    "satimp": {"beta1": 5.0, "beta2": 1.0, "retain": 1.0 / 0.1, "lr": 1e-5},
    "ceu": {"skipped": 1, "retain": 0.0},
    "pdu": {"retain": 50.0, "dual_rate": 1.0},
    "scrub": {"alpha": 0.001, "gamma": 0.99},
    "lunar": {"layer": 22, "shift": 2.0, "lr": 0.01, "epochs": 20, "weight_decay": 0.01},
    "sure": {"percentile": 90.0},
    "npo": {"beta": 0.1, "retain": 1.0},
    "wga": {"beta": 1.0, "retain": 1.0},
}


@pytest.mark.parametrize("name", PUBLIC)
def test_defaults_are_the_public_ones(name):
    made = method(name)
    assert {key: getattr(made, key) for key in PUBLIC[name]} == pytest.approx(PUBLIC[name])


def test_undial_takes_ten_epochs_of_forget10():
    made = method("undial")
    assert made.steps * made.batch_size * made.accumulate == 10 * 400


def test_simnpos_weights_are_the_public_ones_up_to_a_factor():
    """.1375 SimNPO + NLL is .1375 times SimNPO + 7.27 NLL; the public loss of one made batch, in plain numbers."""
    model, data = llama(), corpora()
    asked, kept = batch(data.forget, range(6), CPU), batch(data.retain, range(8), CPU)
    made = method("simnpo", beta=2.5, retain=1 / 0.1375)
    with torch.no_grad():
        forget = made.forget_term(Start(model=model, corpora=data, trained=every(model)))(asked)
        scored, retain = score(model, asked), score(model, kept).nll
    public = 0.0
    for nll, length in zip(scored.nll_B.tolist(), asked.lengths_B.tolist(), strict=True):
        public += 0.1375 * 2 / 2.5 * math.log(1 + math.exp(-2.5 * nll / length)) / 6
    public += retain.item()
    assert 0.1375 * (forget + made.retain * retain).item() == pytest.approx(public, rel=1e-5)


def test_the_organisms_settings_stand_whatever_the_defaults_are():
    """What is written into the suite does not move with a default: its table in docs/methods.md stays true."""
    found = load_suite("organism").unlearn.hyperparameters
    assert found["lunar"]["weight_decay"] == 0.0
    assert found["undial"]["positions"] == "answer"
    assert found["undial"]["accumulate"] == 1
    assert {found[name]["retain"] for name in ("simnpo", "gu_simnpo")} == {1.0}
    assert found["sure"]["percentile"] == 90.0


def test_undial_reads_every_position():
    """At base, beta 0: all positions are base's own, so the loss is the mean entropy of every token but the first."""
    model, data = llama(), corpora()
    asked = batch(data.forget, range(6), CPU)
    start = Start(model=model, corpora=data, trained=every(model))
    with torch.no_grad():
        found = method("undial", beta=0.0).forget_term(start)(asked).item()
        answers = method("undial", beta=0.0, positions="answer").forget_term(start)(asked).item()
        p = model(input_ids=asked.ids_BT, attention_mask=asked.mask_BT).logits.double().log_softmax(-1)
    entropy = -(p.exp() * p).sum(-1)[:, :-1]
    assert found == pytest.approx(entropy[asked.mask_BT[:, 1:]].mean().item(), rel=1e-5)
    assert answers == pytest.approx(entropy[asked.counted_BT[:, 1:]].mean().item(), rel=1e-5)
    assert found != pytest.approx(answers, rel=1e-3)


def test_the_plain_and_the_preconditioned_projection_end_in_one_null_space_at_two_points():
    """Direction (1, 1), gradient (1, 0), AdamW's scales (1, 4).

    Public: g - r (r'g/D) / (r'r/D) = (.2, -.8), a step of (.2, -.2). Ours: (.5, -.5), a step of (.5, -.125) that is
    put back to (.3125, -.3125).
    """
    basis = Basis([{"w": torch.tensor([1.0, 1.0])}])
    scales, gradient = torch.tensor([1.0, 4.0]), torch.tensor([1.0, 0.0])
    ones = torch.ones(2)
    public = gradient - ones * (ones * gradient / scales).sum() / (ones * ones / scales).sum()
    assert (public / scales).tolist() == pytest.approx([0.2, -0.2])
    ours = {"w": gradient.clone()}
    basis.remove(ours)
    step = {"w": ours["w"] / scales}
    basis.remove(step)
    assert step["w"].tolist() == pytest.approx([0.3125, -0.3125])


def test_pdus_weight_follows_the_excess():
    """lambda 2, rate 3, bound 1; retain losses of 1.5 and 0.5 within a step leave it, .5 below bound takes 1.5 off."""
    found = iter([1.5, 0.5, 0.5, 0.0])
    made = module("pdu").Dual(loss=lambda _: torch.tensor(next(found)), weight=2.0, bound=1.0, rate=3.0)
    assert [made.term(None).item(), made.term(None).item()] == [1.0, -1.0]
    made.look(1, None)
    assert made.weight == 2.0
    made.term(None)
    made.look(2, None)
    assert made.weight == 0.5
    made.term(None)
    made.look(3, None)
    assert made.weight == 0.0, "never below"
    again = module("pdu").Dual(loss=None, weight=9.0, bound=1.0, rate=3.0)
    again.load(made.state())
    assert again.weight == 0.0


def test_scrub_opposes_for_the_first_steps_alone():
    model, data, session = taught(), corpora(), Session()
    with opened(session):
        method("scrub", steps=6, lr=1e-2, batch_size=3, opposed=0.5).unlearn(model, data, seed=0)
    assert [point.forget == 0 for point in session.curve] == [True, False, False, True, True, True]
    assert session.curve[2].forget < 0
    with pytest.raises(UsageError, match="out of range"):
        method("scrub", opposed=0.0)
    with pytest.raises(UsageError, match="both retain losses"):
        method("scrub", retain_loss="kl")
