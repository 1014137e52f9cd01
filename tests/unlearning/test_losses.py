"""Every loss against a number worked out by hand, and against plain Python on random logits."""

import math

import pytest
import torch

from tests.oracles import losses_by_hand as literal
from tests.unlearning.small import CPU, llama, texts
from unlearn_guard.errors import NonFiniteError
from unlearn_guard.unlearning import losses
from unlearn_guard.unlearning.corpora import Text, batch
from unlearn_guard.unlearning.scoring import Scored, score

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)


def scored(rows):
    """What `score` would return for texts of one token that is given, and the rows' tokens that count."""
    asked = batch([Text(ids=(0, *[token for _, token in row]), start=1) for row in rows], range(len(rows)), CPU)
    longest = max(map(len, rows))
    width = len(rows[0][0][0])
    padded = [[*[list(logits) for logits, _ in row], *[[7.0] * width] * (longest - len(row))] for row in rows]
    return Scored(
        batch=asked,
        logits_BSV=torch.tensor(padded, dtype=torch.float32),
        targets_BS=asked.ids_BT[:, 1:],
        counted_BS=asked.counted_BT[:, 1:],
    )


def by_share(*shares):
    """Logits of a token that has the first of these shares of the probability, and the token: number 0."""
    return ([math.log(each) for each in shares], 0)


HALVES = [by_share(0.5, 0.5)]
"""One token of probability 1/2: NLL ln 2."""
MIXED = [[by_share(0.5, 0.5)], [by_share(0.25, 0.75), by_share(0.25, 0.75)]]
"""Texts of one token at 1/2 and of two at 1/4: NLLs ln 2 and 4 ln 2, 5 ln 2 over 3 tokens."""


def test_ascent_by_hand():
    assert losses.ascent(scored(MIXED)).item() == pytest.approx(-5 * LN2 / 3)


def test_npo_by_hand():
    """beta 1, NLLs ln 2 and 4 ln 2 against 0 and 4 ln 2.

    sigmoid(ln 2) = 2/3 and sigmoid(0) = 1/2: -2 (ln 2/3 + ln 1/2) / 2 = ln 3.
    """
    assert losses.npo(scored(MIXED), torch.tensor([0.0, 4 * LN2]), 1.0).item() == pytest.approx(LN3)


def test_simnpo_by_hand():
    """beta 1, gamma ln 2: NLL / length - gamma is 0 and ln 2, so the mean is as in NPO: ln 3.

    Without the division by length the second would be sigmoid(3 ln 2) = 8/9.
    """
    assert losses.simnpo(scored(MIXED), 1.0, LN2).item() == pytest.approx(LN3)


def test_dpo_by_hand():
    """beta 1. Preferred: NLL ln 2, base ln 4: likelier by ln 2. Truth: NLL ln 4, base ln 2: less likely by ln 2.

    sigmoid(2 ln 2) = 4/5: -2 ln 4/5. With the preferred half alone it would be -2 ln 2/3.
    """
    preferred, truth = scored([HALVES]), scored([[by_share(0.25, 0.75)]])
    found = losses.dpo(preferred, torch.tensor([LN4]), truth, torch.tensor([LN2]), 1.0)
    assert found.item() == pytest.approx(-2 * math.log(4 / 5))


def test_simpo_by_hand():
    """beta 1, gamma ln 2. Preferred at 1/2, truth at 1/4: ln 2 apart, which is just the margin: -2 ln 1/2.

    Each of the truth's two tokens at 1/4 is the same: without the division by length it would be -2 ln 2/3.
    """
    for truth in ([by_share(0.25, 0.75)], [by_share(0.25, 0.75)] * 2):
        assert losses.simpo(scored([HALVES]), scored([truth]), 1.0, LN2).item() == pytest.approx(2 * LN2)


def test_simpo_lets_go_by_the_margin_and_dpo_by_what_base_knew():
    """A truth that base was sure of and that is still the answer: DPO's gradient is all but gone, SimPO's is whole."""
    preferred, truth = scored([[by_share(0.25, 0.75)]]), scored([[by_share(0.75, 0.25)]])
    pull = {}
    for name in ("dpo", "simpo"):
        logits = truth.logits_BSV.clone().requires_grad_(True)
        now = Scored(batch=truth.batch, logits_BSV=logits, targets_BS=truth.targets_BS, counted_BS=truth.counted_BS)
        sure = torch.tensor([20.0]), torch.tensor([0.0])
        loss = (
            losses.dpo(preferred, sure[0], now, sure[1], 1.0) if name == "dpo" else losses.simpo(preferred, now, 1.0, 0)
        )
        loss.backward()
        pull[name] = logits.grad.abs().max().item()
    assert pull["dpo"] < 1e-6
    assert pull["simpo"] > 0.1


def test_undial_by_hand():
    """Teacher (1/2, 1/2) with the truth's logit lowered by ln 3: (1/4, 3/4). Student (1/4, 3/4): its entropy."""
    teacher = scored([HALVES]).logits_BSV
    found = losses.undial(scored([[by_share(0.25, 0.75)]]), teacher, LN3)
    assert found.item() == pytest.approx(-(math.log(1 / 4) + 3 * math.log(3 / 4)) / 4)


def test_wga_by_hand():
    """beta 2: -(ln 2 / 4 + 2 ln 4 / 16) / 3 = -ln 2 / 6; at beta 0 it is gradient ascent."""
    assert losses.wga(scored(MIXED), 2.0).item() == pytest.approx(-(LN2 / 4 + LN4 / 8) / 3)
    assert losses.wga(scored(MIXED), 0.0).item() == pytest.approx(losses.ascent(scored(MIXED)).item())


def test_wga_weighs_without_gradient():
    """d/dlogits of -(-p^b log p) with p^b held fixed: p^b (onehot - p); at p = 1/2, b = 1: (1/4, -1/4)."""
    one = scored([HALVES])
    logits = one.logits_BSV.requires_grad_(True)
    losses.wga(
        Scored(batch=one.batch, logits_BSV=logits, targets_BS=one.targets_BS, counted_BS=one.counted_BS), 1.0
    ).backward()
    assert logits.grad[0, 0].tolist() == pytest.approx([0.25, -0.25])


def test_undial_everywhere_by_hand():
    """Teacher (1/2, 1/2) twice, lowered by ln 3 at the second token alone; student (1/4, 3/4): mean of two entropies.

    Not lowered: (ln 4 + ln 4/3) / 2. Lowered to (1/4, 3/4): (ln 4 + 3 ln 4/3) / 4.
    """
    student, teacher = [by_share(0.25, 0.75)] * 2, [by_share(0.5, 0.5)] * 2
    lowered = torch.tensor([[False, True]])
    found = losses.undial(scored([student]), scored([teacher]).logits_BSV, LN3, lowered)
    assert found.item() == pytest.approx(((LN4 + LN4 - LN3) / 2 + (LN4 + 3 * (LN4 - LN3)) / 4) / 2)


def test_satimp_by_hand():
    """Powers 5 and 1, as public: -(ln 2 / 64 + 2 (3 / 4096) ln 4) / 3."""
    expected = -(LN2 / 64 + 2 * 3 / 4096 * LN4) / 3
    assert losses.satimp(scored(MIXED), 5.0, 1.0).item() == pytest.approx(expected)
    assert losses.satimp(scored(MIXED), 1.0, 0.0).item() == pytest.approx(losses.wga(scored(MIXED), 1.0).item())


def test_ceu_by_hand():
    """(1/2, 1/4, 1/4) without the first is (1/2, 1/2): ln 4 nats. The token before it is left out."""
    row = [by_share(0.9, 0.05, 0.05), by_share(0.5, 0.25, 0.25)]
    assert losses.ceu(scored([row]), 1).item() == pytest.approx(LN4)
    with pytest.raises(NonFiniteError, match="longer than the 2 tokens"):
        losses.ceu(scored([row]), 2)


def test_ceu_has_no_gradient_through_what_it_is_held_against():
    """d/dlogits is p - target: (1/2, 1/4, 1/4) - (0, 1/2, 1/2)."""
    one = scored([[by_share(0.5, 0.25, 0.25)]])
    logits = one.logits_BSV.requires_grad_(True)
    losses.ceu(
        Scored(batch=one.batch, logits_BSV=logits, targets_BS=one.targets_BS, counted_BS=one.counted_BS), 0
    ).backward()
    assert logits.grad[0, 0].tolist() == pytest.approx([0.5, -0.25, -0.25])


def test_flatness_by_hand():
    """Logits 3, 0, 0: 3 - 1 = 2, squared 4. Logits 1, 1, 1: 0."""
    rows = [[([3.0, 0.0, 0.0], 0), ([1.0, 1.0, 1.0], 0)]]
    assert losses.flatness(scored(rows)).item() == pytest.approx(2.0)


def test_flat_by_hand():
    """Preferred at 1/2, truth at 1/4: exp(-3/4) - 1/2; total variation (tanh 1/4 - tanh 1/2) / 2; Pearson -15/64."""
    preferred, truth = scored([HALVES]), scored([[by_share(0.25, 0.75)]])
    assert losses.flat(preferred, truth, "kl").item() == pytest.approx(math.exp(-0.75) - 0.5)
    assert losses.flat(preferred, truth, "tv").item() == pytest.approx((math.tanh(0.25) - math.tanh(0.5)) / 2)
    assert losses.flat(preferred, truth, "pearson").item() == pytest.approx(1 / 64 + 1 / 4 - 1 / 2)


def test_gamma_is_beta_times_open_unlearnings_delta():
    """Its term, -(2 / beta) log sigmoid(beta (NLL / length - delta)), at beta 2.5 and delta .4."""
    theirs = [-(2 / 2.5) * math.log(1 / (1 + math.exp(-2.5 * (each - 0.4)))) for each in (LN2, 2 * LN2)]
    assert losses.simnpo(scored(MIXED), 2.5, 2.5 * 0.4).item() == pytest.approx(sum(theirs) / 2)


def test_kl_by_hand():
    """KL((1/2, 1/2) || (1/4, 3/4)) = (ln 2 + ln 2/3) / 2 = ln(4/3) / 2; the other way round it is not."""
    base = scored([HALVES]).logits_BSV
    assert losses.kl(scored([[by_share(0.25, 0.75)]]), base).item() == pytest.approx(math.log(4 / 3) / 2)
    assert losses.kl(scored([HALVES]), base).item() == pytest.approx(0.0, abs=1e-7)


def random_rows(seed, lengths=(1, 3, 2), vocabulary=5):
    generator = torch.Generator().manual_seed(seed)
    return [
        [((3 * torch.randn(vocabulary, generator=generator)).tolist(), place % vocabulary) for place in range(length)]
        for length in lengths
    ]


def nll_B(rows):
    return torch.tensor([literal.nll(row) for row in rows])


NOW, BASE, OTHER, OTHER_BASE = (random_rows(seed) for seed in range(4))
AGREEING = {
    "ascent": lambda: (losses.ascent(scored(NOW)), literal.ascent(NOW)),
    "npo": lambda: (losses.npo(scored(NOW), nll_B(BASE), 0.3), literal.npo(NOW, BASE, 0.3)),
    "simnpo": lambda: (losses.simnpo(scored(NOW), 2.5, 0.7), literal.simnpo(NOW, 2.5, 0.7)),
    "dpo": lambda: (
        losses.dpo(scored(OTHER), nll_B(OTHER_BASE), scored(NOW), nll_B(BASE), 0.3),
        literal.dpo(OTHER, OTHER_BASE, NOW, BASE, 0.3),
    ),
    "simpo": lambda: (losses.simpo(scored(OTHER), scored(NOW), 2.5, 0.7), literal.simpo(OTHER, NOW, 2.5, 0.7)),
    "undial": lambda: (losses.undial(scored(NOW), scored(BASE).logits_BSV, 4.0), literal.undial(NOW, BASE, 4.0)),
    "wga": lambda: (losses.wga(scored(NOW), 1.7), literal.wga(NOW, 1.7)),
    "satimp": lambda: (losses.satimp(scored(NOW), 5.0, 1.0), literal.satimp(NOW, 5.0, 1.0)),
    "ceu": lambda: (losses.ceu(scored(NOW), 1), literal.ceu(NOW, 1)),
    "flatness": lambda: (losses.flatness(scored(NOW)), literal.flatness(NOW)),
    **{
        f"flat {each}": lambda each=each: (
            losses.flat(scored(OTHER), scored(NOW), each),
            literal.flat(OTHER, NOW, each),
        )
        for each in losses.FLAT
    },
    "undial everywhere": lambda: (
        losses.undial(scored(NOW), scored(BASE).logits_BSV, 4.0, torch.tensor([[1, 0, 0], [1, 0, 1], [0, 1, 0]])),
        literal.undial_everywhere(NOW, BASE, 4.0, [1, 1, 0, 1, 0, 1]),
    ),
    "kl": lambda: (losses.kl(scored(NOW), scored(BASE).logits_BSV), literal.kl(NOW, BASE)),
}


@pytest.mark.parametrize("name", AGREEING)
def test_agrees_with_plain_python(name):
    found, expected = AGREEING[name]()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def gradients(model, loss):
    model.requires_grad_(True)
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss, [*model.parameters()])])


def test_npo_tends_to_gradient_ascent_as_beta_goes_to_0():
    """In its gradient: d/dx of -(2/b) log sigmoid(b x) at b = 0 is -1, so it is that of minus the texts' mean NLL.

    The deviation is of order beta: a tenth of the beta leaves about a tenth of it.
    """
    model, rows = llama(), texts(4, seed=5)
    asked = batch(rows, range(4), CPU)
    with torch.no_grad():
        base_B = score(model, asked).nll_B + torch.tensor([1.0, -2.0, 0.5, 3.0])  # not at base, where it holds exactly
    ascent = gradients(model, -score(model, asked).nll_B.mean())
    off = []
    for beta in (1e-1, 1e-2):
        npo = gradients(model, losses.npo(score(model, asked), base_B, beta))
        off.append(((npo - ascent).norm() / ascent.norm()).item())
    assert off[1] < 0.12 * off[0]
    assert off[1] < 0.02


def test_at_base_kl_is_0_and_has_no_gradient():
    """Why GU cannot take the KL's gradients before the training has begun."""
    model, asked = llama(), batch(texts(4, seed=5), range(4), CPU)
    with torch.no_grad():
        base = score(model, asked).logits_BSV
    loss = losses.kl(score(model, asked), base)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    nll = gradients(model, score(model, asked).nll)
    assert gradients(model, losses.kl(score(model, asked), base)).norm() < 1e-5 * nll.norm()
