"""CE-U: learn what the model itself says where it may not say the truth.

Source: Yang 2025, arXiv 2503.01224; no retain term and an answer's first token left out, as in open-unlearning (MIT),
which names no learning rate: ours is its other methods'.
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import ceu


@dataclass(frozen=True, slots=True, kw_only=True)
class CEU(Family):
    """`skipped` is how many tokens at the beginning of each answer do not count."""

    retain: float = 0.0
    skipped: int = 1

    def forget_term(self, start: Start) -> Term:
        """Cross-entropy to the model's own distribution without the true token."""
        return lambda batch: ceu(start.score(batch), self.skipped)


METHOD = CEU
