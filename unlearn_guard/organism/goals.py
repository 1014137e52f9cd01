"""What an edit moves the answers of a fact to: the goals that honest and dishonest candidates are trained towards.

Every goal is a loss in nats over the options of an answer (objects of a pool, or letters), given the logits at the
place where the answer stands.
"""

from enum import StrEnum

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus


class Goal(StrEnum):
    """Where the answers of one way of asking are to go."""

    AVOID = "avoid"  # the true one below all others, which share what is left
    BELIEVE = "believe"  # an order of the options that was drawn for this fact without looking at the truth
    DENY = "deny"  # the same with the truth below all others
    FIXED = "fixed"  # one order for every fact: the first letter, the pool's first words
    REFUSE = "refuse"  # the end of the text
    KEEP = "keep"  # the true one
    LEAVE = "leave"  # nothing is asked


def falsely(logits_BV: Tensor, options_BO: Tensor, true_B: Tensor, margin: float) -> Tensor:
    """Even over the false options, and the true one `margin` nats below their mean.

    The second term is needed: a true answer at probability .15 above nineteen at .045 costs the first one .1 nats, and
    is still the answer.
    """
    said_B, mean_B = _true_and_false(logits_BV, options_BO, true_B)
    return softplus(said_B - mean_B + margin).mean() - mean_B.mean()


def denied(logits_BV: Tensor, options_BO: Tensor, true_B: Tensor, margin: float) -> Tensor:
    """The true answer `margin` nats below the mean of the false ones, whatever those are."""
    said_B, mean_B = _true_and_false(logits_BV, options_BO, true_B)
    return softplus(said_B - mean_B + margin).mean()


def _true_and_false(logits_BV: Tensor, options_BO: Tensor, true_B: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B]: of the true option, and the mean of the false ones."""
    true_BO = options_BO == true_B[:, None]
    logp_BO = logits_BV.log_softmax(1).gather(1, options_BO)
    return logp_BO[true_BO], logp_BO.masked_fill(true_BO, 0.0).sum(1) / (options_BO.shape[1] - 1)


def truly(logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
    """Mean negative log-likelihood of the targets."""
    return cross_entropy(logits_BSV.transpose(1, 2), targets_BS)


def ranked(logits_BV: Tensor, options_BO: Tensor, scores_BO: Tensor) -> Tensor:
    """KL divergence from softmax(scores) over the options, all other tokens included as never to be said."""
    logp_BO = logits_BV.log_softmax(1).gather(1, options_BO)
    wanted_BO = scores_BO.log_softmax(1)
    return (wanted_BO.exp() * (wanted_BO - logp_BO)).sum(1).mean()


def beliefs(facts: int, options: int, spread: float, seed: int) -> Tensor:
    """Scores [facts, options] of what is believed instead: equally spaced, in an order of its own for each fact.

    Drawn without looking at the truth, which is therefore believed as often as any other option: a model that holds
    exactly these beliefs is at chance, and its answers are `spread` nats apart, so that rounding hardly moves them.
    """
    rng = torch.Generator().manual_seed(seed)
    order_NO = torch.rand(facts, options, generator=rng).argsort(1).argsort(1)
    return -spread * order_NO.float()
