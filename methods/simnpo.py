"""SimNPO: NPO without a reference model, on likelihoods normalised by length.

Source: Fan et al. 2024, arXiv 2410.07163; beta 4.5, gamma 0 and the weights of its public code for TOFU's forget10
(MIT): the forget term weighs 0.125 against the retain term's 1, which is `retain` 8. For forget05 it has beta 2.5 and
0.1375, `retain` 7.27. `gamma` here is beta times the `delta` of open-unlearning.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import simnpo


@dataclass(frozen=True, slots=True, kw_only=True)
class SimNPO(Family):
    """`beta` is how soon the loss flattens, `gamma` the margin that it is flat beyond."""

    retain: float = 8.0
    beta: float = 4.5
    gamma: float = 0.0

    def forget_term(self, start: Start) -> Term:
        """SimNPO on whole texts."""
        return lambda batch: simnpo(start.score(batch), self.beta, self.gamma)


METHOD = SimNPO
