"""FLAT: a divergence between an answer to give instead and the true one, from the forget corpus alone.

The forget corpus has to say what to answer instead. Source: Wang et al. 2024, arXiv 2410.11143, and its public code
(no licence named: the formula alone is taken). Its probabilities are averaged over all positions of the padded text,
here over the answer's tokens; the learning rate is ours.
"""

from dataclasses import dataclass
from typing import Literal

from unlearn_guard.unlearning.family import Family, Start, preference_term
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import flat
from unlearn_guard.unlearning.scoring import score_both


@dataclass(frozen=True, slots=True, kw_only=True)
class FLAT(Family):
    """`divergence` is Kullback-Leibler's, total variation, Pearson's or Jensen-Shannon's."""

    retain: float = 0.0
    divergence: Literal["kl", "tv", "pearson", "js"] = "kl"

    def forget_term(self, start: Start) -> Term:
        """The answer to give instead against the true one."""
        model = start.model
        return preference_term(
            start, lambda preferred, asked: flat(*score_both(model, preferred, asked), self.divergence)
        )


METHOD = FLAT
