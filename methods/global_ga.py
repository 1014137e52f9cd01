"""Global GA: gradient ascent on the forget set, all weights, nothing done for what should stay.

Source: the paper's baseline (arXiv 2605.15138, Section 6); lr as in open-unlearning's grad_ascent.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import ascent


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalGA(Family):
    """No retain term, unless `retain` is set."""

    retain: float = 0.0

    def forget_term(self, start: Start) -> Term:
        """Minus the mean NLL of a token."""
        return lambda batch: ascent(start.score(batch))


METHOD = GlobalGA
