"""NPO: negative preference optimization, which slows down on what is already unlikely.

Source: Zhang et al. 2024, arXiv 2404.05868; defaults as in its public code, with NLL on the retain set.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import npo


@dataclass(frozen=True, slots=True, kw_only=True)
class NPO(Family):
    """`beta` is how soon the loss flattens: gradient ascent at 0."""

    beta: float = 0.1

    def forget_term(self, start: Start) -> Term:
        """NPO on whole texts against base."""
        base = start.reference
        return lambda batch: npo(start.score(batch), base.nll_B(batch), self.beta)


METHOD = NPO
