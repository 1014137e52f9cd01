"""What each family minimises on the forget set. All in nats, on log-probabilities, batch means.

Source of each: its docstring. `nll` here always means negative log-likelihood, summed over a text's tokens that count
(`Scored.nll_B`) or averaged over the batch's (`Scored.nll`).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from unlearn_guard.errors import NonFiniteError
from unlearn_guard.unlearning.scoring import Scored

LN2 = math.log(2)

FLAT: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "kl": (lambda x: x, lambda x: (x - 1).exp()),
    "tv": (lambda x: x.tanh() / 2, lambda x: x.tanh() / 2),
    "pearson": (lambda x: x, lambda x: x.square() / 4 + x),
    "js": (lambda x: LN2 - softplus(-x), lambda x: x + softplus(-x) - LN2),
}
"""Divergences of FLAT: what becomes of the probability of what should be said, and of the truth's."""


def ascent(asked: Scored) -> Tensor:
    """Gradient ascent: minus the mean NLL of a token."""
    return -asked.nll


def npo(asked: Scored, reference_B: Tensor, beta: float) -> Tensor:
    """-(2/beta) E log sigmoid(beta (NLL - NLL of the reference model)), over texts.

    Tends to gradient ascent as beta goes to 0: its gradient there is that of -E NLL. On log-probabilities of whole
    texts; two public versions put raw logits there.

    Source: Zhang et al. 2024, arXiv 2404.05868, Eq. 3.
    """
    return -2 / beta * logsigmoid(beta * (asked.nll_B - reference_B)).mean()


def simnpo(asked: Scored, beta: float, gamma: float) -> Tensor:
    """-(2/beta) E log sigmoid(beta NLL / length - gamma), over texts: no reference model, lengths made alike.

    open-unlearning writes the margin inside, beta (NLL / length - delta): this gamma is beta times its delta.

    Source: Fan et al. 2024, arXiv 2410.07163.
    """
    return -2 / beta * logsigmoid(beta * asked.nll_B / asked.batch.lengths_B - gamma).mean()


def dpo(preferred: Scored, preferred_B: Tensor, asked: Scored, asked_B: Tensor, beta: float) -> Tensor:
    """-(2/beta) E log sigmoid(beta (how much likelier what should be said has become, less the same of the truth)).

    `preferred_B` and `asked_B` are the reference model's NLL of each. NPO is this without the preferred half.

    Source: Rafailov et al. 2023, arXiv 2305.18290, Eq. 7; as a baseline of unlearning, arXiv 2404.05868.
    """
    gained_B = (preferred_B - preferred.nll_B) - (asked_B - asked.nll_B)
    return -2 / beta * logsigmoid(beta * gained_B).mean()


def simpo(preferred: Scored, asked: Scored, beta: float, gamma: float) -> Tensor:
    """-(2/beta) E log sigmoid(beta (mean log p of what should be said - mean log p of the truth) - gamma), over texts.

    DPO without a reference model, lengths made alike. DPO lets go of a truth that has lost enough against base, be it
    still the answer; this one when the truth is gamma/beta nats a token below what should be said, whatever base was.

    Source: Meng et al. 2024, arXiv 2405.14734, Eq. 6.
    """
    preferred_B, asked_B = (each.nll_B / each.batch.lengths_B for each in (preferred, asked))
    return -2 / beta * logsigmoid(beta * (asked_B - preferred_B) - gamma).mean()


def undial(asked: Scored, teacher_BSV: Tensor, beta: float, lowered_BS: Tensor | None = None) -> Tensor:
    """Cross-entropy to softmax(teacher's logits - beta at the true token), per token: self-distillation without it.

    `lowered_BS` are the tokens that are lowered, where not all that count are: the others are distilled as they stand.

    Source: Dong et al. 2024, arXiv 2402.10052.
    """
    true_BSV = torch.zeros_like(teacher_BSV).scatter_(-1, asked.targets_BS[..., None], 1.0)
    if lowered_BS is not None:
        true_BSV = true_BSV * lowered_BS[..., None]
    return _token_mean(asked, _cross_entropy(teacher_BSV - beta * true_BSV, asked))


def ceu(asked: Scored, skipped: int) -> Tensor:
    """Cross-entropy to the model's own distribution with the true token's probability put to 0, per token.

    No gradient goes through what it is held against. A text's first `skipped` tokens do not count, which keeps how
    an answer begins. Raises NonFiniteError where that leaves nothing of any text.

    Source: Yang 2025, arXiv 2503.01224 (CE-U), whose footnote leaves out the first token.
    """
    kept_BS = asked.counted_BS & (asked.counted_BS.cumsum(1) > skipped)
    if not kept_BS.any():
        raise NonFiniteError(f"no answer of the batch is longer than the {skipped} tokens that are left out")
    without_BSV = asked.logits_BSV.detach().scatter(-1, asked.targets_BS[..., None], -math.inf)
    entropy_BS = _cross_entropy(without_BSV, asked)
    return entropy_BS.masked_fill(~kept_BS, 0.0).sum() / kept_BS.sum()


def flatness(asked: Scored) -> Tensor:
    """(largest logit - mean logit)^2, mean over the tokens that count: 0 where nothing is preferred.

    Source: Entesari et al. 2025, arXiv 2506.05314 (PDU, its forget term).
    """
    above_BS = asked.logits_BSV.amax(-1) - asked.logits_BSV.mean(-1)
    return _token_mean(asked, above_BS.square())


def flat(preferred: Scored, asked: Scored, divergence: str) -> Tensor:
    """Minus a variational f-divergence between what should be said and the truth: conj(P_truth) - act(P_preferred).

    P is a text's mean probability of a token, then the mean over texts. Kullback-Leibler: act(x) = x, conj(x) =
    exp(x - 1); total variation: both tanh(x) / 2; Pearson: x and x^2 / 4 + x; Jensen-Shannon: ln 2 - ln(1 + e^-x) and
    x + ln(1 + e^-x) - ln 2.

    Source: Wang et al. 2024, arXiv 2410.11143 (FLAT), its code's `get_contrastive_loss`.
    """
    activation, conjugate = FLAT[divergence]
    good, truth = (_mean_probability(each) for each in (preferred, asked))
    return conjugate(truth) - activation(good)


def wga(asked: Scored, beta: float) -> Tensor:
    """Gradient ascent in which each token weighs p^beta, p its probability now, without gradient through the weight.

    What is already improbable is left alone.

    Source: Wang et al. 2025, arXiv 2502.19301 (weighted gradient ascent).
    """
    weight_BS = (beta * asked.logp_BS).exp().detach()
    return (weight_BS * asked.logp_BS).sum() / asked.counted_BS.sum()


def satimp(asked: Scored, beta1: float, beta2: float) -> Tensor:
    """Gradient ascent in which each token weighs p^beta1 (1 - p)^beta2, without gradient through the weight.

    Most weight lies where a token is likely and not certain.

    Source: Yang et al. 2025, arXiv 2505.11953 (SatImp).
    """
    p_BS = asked.logp_BS.exp().detach()
    return (p_BS**beta1 * (1 - p_BS) ** beta2 * asked.logp_BS).sum() / asked.counted_BS.sum()


def kl(asked: Scored, reference_BSV: Tensor) -> Tensor:
    """KL(reference model || model) of the next token, mean over the tokens that count."""
    logp_BSV, reference_logp_BSV = asked.logits_BSV.log_softmax(-1), reference_BSV.log_softmax(-1)
    return _token_mean(asked, (reference_logp_BSV.exp() * (reference_logp_BSV - logp_BSV)).sum(-1))


def _cross_entropy(goal_BSV: Tensor, asked: Scored) -> Tensor:
    return -(goal_BSV.softmax(-1) * asked.logits_BSV.log_softmax(-1)).sum(-1)


def _token_mean(asked: Scored, each_BS: Tensor) -> Tensor:
    return each_BS.masked_fill(~asked.counted_BS, 0.0).sum() / asked.counted_BS.sum()


def _mean_probability(asked: Scored) -> Tensor:
    """Of each text the mean probability of a token, and of those the mean."""
    p_BS = asked.logp_BS.exp().masked_fill(~asked.counted_BS, 0.0)
    return (p_BS.sum(1) / asked.batch.lengths_B).mean()
