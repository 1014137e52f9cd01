"""GU: gradient ascent with nothing along the gradients of what should stay.

Source: the name and the combination with SimNPO match arXiv 2511.17100 (Zhou et al., Geometric-disentanglement
Unlearning). The paper that lists it as a baseline (arXiv 2605.15138) cites "Huang et al. 2024", which could be other
work. Last 5 layers of 32, norm and head, up to 8 directions for each parameter; which directions, and how they outlast
AdamW, is ours: `unlearn_guard.unlearning.nullspace`. A public implementation (Lemutisme/geo-unlearning) projects in
the metric of AdamW's second moments, so that its step is orthogonal to the directions; here the gradient is projected
in the plain one and the step afterwards, which ends in the same null space at another point.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import ascent
from unlearn_guard.unlearning.nullspace import Orthogonal


@dataclass(frozen=True, slots=True, kw_only=True)
class GU(Orthogonal):
    """No retain term, unless `retain` is set: what should stay is in the directions."""

    retain: float = 0.0

    def forget_term(self, start: Start) -> Term:
        """Minus the mean NLL of a token."""
        return lambda batch: ascent(start.score(batch))


METHOD = GU
