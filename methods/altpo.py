"""AltPO: prefer another plausible answer to the true one, both relative to base, and keep the retain texts.

The forget corpus has to hold the other answers, as `instead`, or as `wrong`, of which each of `times` draws one. The
source lets base write five a question, asked for a different answer; nothing here writes them. Source: Mekala et al.
2024, arXiv 2409.13474; beta, rate and weight are the middle of its search in open-unlearning (MIT).
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start, dpo_term
from unlearn_guard.unlearning.loop import Term


@dataclass(frozen=True, slots=True, kw_only=True)
class AltPO(Family):
    """`beta` is how soon the loss flattens."""

    lr: float = 2e-5
    retain: float = 2.0
    beta: float = 0.1

    def forget_term(self, start: Start) -> Term:
        """The other answer against the true one."""
        return dpo_term(start, self.beta)


METHOD = AltPO
