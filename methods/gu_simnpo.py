"""GU + SimNPO: SimNPO with nothing along the gradients of what should stay.

Source: as `gu` and `simnpo`, with the doubt about the citation that `gu` states; weights as `simnpo`.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import simnpo
from unlearn_guard.unlearning.nullspace import Orthogonal


@dataclass(frozen=True, slots=True, kw_only=True)
class GUSimNPO(Orthogonal):
    """`beta` is how soon the loss flattens, `gamma` the margin that it is flat beyond."""

    retain: float = 8.0
    beta: float = 4.5
    gamma: float = 0.0

    def forget_term(self, start: Start) -> Term:
        """SimNPO on whole texts."""
        return lambda batch: simnpo(start.score(batch), self.beta, self.gamma)


METHOD = GUSimNPO
