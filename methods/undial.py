"""UNDIAL: learn one's own distribution with the true token's logit lowered.

Source: Dong et al. 2024, arXiv 2402.10052; beta 10 as in open-unlearning.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import undial


@dataclass(frozen=True, slots=True, kw_only=True)
class UNDIAL(Family):
    """`beta` is how far the true token's logit is lowered."""

    lr: float = 1e-4
    beta: float = 10.0

    def forget_term(self, start: Start) -> Term:
        """Cross-entropy to base's distribution with the truth lowered."""
        base = start.reference
        return lambda batch: undial(start.score(batch), base.score(batch).logits_BSV, self.beta)


METHOD = UNDIAL
