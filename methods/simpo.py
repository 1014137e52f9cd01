"""SimPO: prefer another answer to the true one by a margin, without a reference model.

The forget corpus has to say what to answer instead. Source: Meng et al. 2024, arXiv 2405.14734, whose defaults these
are; as a loss of unlearning it stands to DPO as SimNPO does to NPO.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start, simpo_term
from unlearn_guard.unlearning.loop import Term


@dataclass(frozen=True, slots=True, kw_only=True)
class SimPO(Family):
    """`gamma / beta` is the margin in nats a token, `beta` how soon the loss flattens beyond it."""

    beta: float = 2.0
    gamma: float = 1.0

    def forget_term(self, start: Start) -> Term:
        """The answer to give instead against the true one."""
        return simpo_term(start, self.beta, self.gamma)


METHOD = SimPO
