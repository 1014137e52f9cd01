"""UNDIAL: learn one's own distribution with the true token's logit lowered.

Source: Dong et al. 2024, arXiv 2402.10052; beta 10, batches of 16, 10 epochs and no retain term as in open-unlearning
(MIT): 250 steps are ten epochs of TOFU's forget10. Its code averages over every position, where the prompt's are
distilled as base has them; `positions: answer` leaves those out. Deviations: its code also counts padding, and lowers
one unrelated token at the positions that are no answer's.
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from unlearn_guard.unlearning.corpora import Batch
from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import undial


@dataclass(frozen=True, slots=True, kw_only=True)
class UNDIAL(Family):
    """`beta` is how far the true token's logit is lowered, `positions` where base's distribution is learnt."""

    lr: float = 1e-4
    steps: int = 250
    accumulate: int = 4
    retain: float = 0.0
    beta: float = 10.0
    positions: Literal["all", "answer"] = "all"

    def forget_term(self, start: Start) -> Term:
        """Cross-entropy to base's distribution with the truth lowered."""
        base = start.reference
        if self.positions == "answer":
            return lambda batch: undial(start.score(batch), base.score(batch).logits_BSV, self.beta)

        def everywhere(batch: Batch) -> Tensor:
            whole = replace(batch, counted_BT=batch.predicted_BT)
            lowered_BS = batch.counted_BT[:, 1:]
            return undial(start.score(whole), base.score(whole).logits_BSV, self.beta, lowered_BS)

        return everywhere


METHOD = UNDIAL
