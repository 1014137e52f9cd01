"""SatImp: gradient ascent on tokens that are likely and not certain.

Source: Yang et al. 2025, arXiv 2505.11953; powers 5 and 1 and weights as in open-unlearning (MIT): 0.1 for the forget
term against 1, which is `retain` 10.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import satimp


@dataclass(frozen=True, slots=True, kw_only=True)
class SatImp(Family):
    """`beta1` is the power of a token's probability, `beta2` that of what it lacks of 1."""

    retain: float = 10.0
    beta1: float = 5.0
    beta2: float = 1.0

    def forget_term(self, start: Start) -> Term:
        """Weighted gradient ascent."""
        return lambda batch: satimp(start.score(batch), self.beta1, self.beta2)


METHOD = SatImp
