"""WGA: gradient ascent in which a token weighs the more, the likelier it still is.

Source: Wang et al. 2025, arXiv 2502.19301; beta 1 and retain weight 1 as in open-unlearning.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import wga


@dataclass(frozen=True, slots=True, kw_only=True)
class WGA(Family):
    """`beta` is the power of the probability: gradient ascent at 0."""

    beta: float = 1.0

    def forget_term(self, start: Start) -> Term:
        """Weighted gradient ascent."""
        return lambda batch: wga(start.score(batch), self.beta)


METHOD = WGA
