"""DPO: prefer another answer ("I don't know", or a false one) to the true one.

The forget corpus has to say what to answer instead. Source: Rafailov et al. 2023, arXiv 2305.18290, used for unlearning
as in TOFU (arXiv 2401.06121, IdkDPO) and, with false answers, AltPO (arXiv 2409.13474).
"""

from dataclasses import dataclass

from unlearn_guard.unlearning.family import Family, Start, dpo_term
from unlearn_guard.unlearning.loop import Term


@dataclass(frozen=True, slots=True, kw_only=True)
class DPO(Family):
    """`beta` is how soon the loss flattens."""

    beta: float = 0.1

    def forget_term(self, start: Start) -> Term:
        """The answer to give instead against the true one."""
        return dpo_term(start, self.beta)


METHOD = DPO
