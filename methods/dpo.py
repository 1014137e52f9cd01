"""DPO: prefer another answer ("I don't know", or a false one) to the true one.

The forget corpus has to say what to answer instead. Source: Rafailov et al. 2023, arXiv 2305.18290, used for unlearning
as in TOFU (arXiv 2401.06121, IdkDPO) and, with false answers, AltPO (arXiv 2409.13474).
"""

from dataclasses import dataclass

from torch import Tensor

from unlearn_guard.unlearning.corpora import Batch, batch
from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import dpo


@dataclass(frozen=True, slots=True, kw_only=True)
class DPO(Family):
    """`beta` is how soon the loss flattens."""

    beta: float = 0.1

    def forget_term(self, start: Start) -> Term:
        """The answer to give instead against the true one, both relative to base."""
        base, texts = start.reference, start.corpora.forget
        batch(texts, range(len(texts)), start.model.device, instead=True)  # refuse before anything is trained

        def term(asked: Batch) -> Tensor:
            preferred = batch(texts, asked.index, asked.ids_BT.device, instead=True)
            return dpo(start.score(preferred), base.nll_B(preferred), start.score(asked), base.nll_B(asked), self.beta)

        return term


METHOD = DPO
