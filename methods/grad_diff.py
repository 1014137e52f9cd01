"""GradDiff: gradient ascent on the forget set with gradient descent on the retain set.

Source: Liu et al. 2022, arXiv 2203.12817; weights 1 and 1 as in open-unlearning's grad_diff.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import ascent


@dataclass(frozen=True, slots=True, kw_only=True)
class GradDiff(Family):
    """Global GA with a retain term."""

    def forget_term(self, start: Start) -> Term:
        """Minus the mean NLL of a token."""
        return lambda batch: ascent(start.score(batch))


METHOD = GradDiff
