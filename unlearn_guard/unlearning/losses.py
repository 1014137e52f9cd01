"""What each family minimises on the forget set. All in nats, on log-probabilities, batch means.

Source of each: its docstring. `nll` here always means negative log-likelihood, summed over a text's tokens that count
(`Scored.nll_B`) or averaged over the batch's (`Scored.nll`).
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unlearn_guard.unlearning.scoring import Scored


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


def undial(asked: Scored, teacher_BSV: Tensor, beta: float) -> Tensor:
    """Cross-entropy to softmax(teacher's logits - beta at the true token), per token: self-distillation without it.

    Source: Dong et al. 2024, arXiv 2402.10052.
    """
    true_BSV = torch.zeros_like(teacher_BSV).scatter_(-1, asked.targets_BS[..., None], 1.0)
    lowered_BSV = teacher_BSV - beta * true_BSV
    entropy_BS = -(lowered_BSV.softmax(-1) * asked.logits_BSV.log_softmax(-1)).sum(-1)
    return entropy_BS.masked_fill(~asked.counted_BS, 0.0).sum() / asked.counted_BS.sum()


def wga(asked: Scored, beta: float) -> Tensor:
    """Gradient ascent in which each token weighs p^beta, p its probability now, without gradient through the weight.

    What is already improbable is left alone.

    Source: Wang et al. 2025, arXiv 2502.19301 (weighted gradient ascent).
    """
    weight_BS = (beta * asked.logp_BS).exp().detach()
    return (weight_BS * asked.logp_BS).sum() / asked.counted_BS.sum()


def kl(asked: Scored, reference_BSV: Tensor) -> Tensor:
    """KL(reference model || model) of the next token, mean over the tokens that count."""
    logp_BSV, reference_logp_BSV = asked.logits_BSV.log_softmax(-1), reference_BSV.log_softmax(-1)
    each_BS = (reference_logp_BSV.exp() * (reference_logp_BSV - logp_BSV)).sum(-1)
    return each_BS.masked_fill(~asked.counted_BS, 0.0).sum() / asked.counted_BS.sum()
