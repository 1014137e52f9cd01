"""PDU: flatten the logits of what is to go, under the constraint that the retain loss stays below a bound.

L = E (largest logit - mean logit)^2 + lambda (retain loss - bound); after each step lambda grows by `dual_rate`
times what the retain loss is above the bound, never below 0: a primal-dual search for the flattening that costs no
more.

Source: Entesari et al. 2025, arXiv 2506.05314, and its code in open-unlearning (MIT); weights 50 and 1 as there for
MUSE, `bound` has no default there. Deviations: its forget term takes every position, padding too, here those that
count; lambda moves once a step, by the mean over its batches, from the first step on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.unlearning.corpora import Batch, Corpora
from unlearn_guard.unlearning.family import Family, Start, retain_term
from unlearn_guard.unlearning.loop import Term, fit
from unlearn_guard.unlearning.losses import flatness
from unlearn_guard.unlearning.masters import Masters


@dataclass(frozen=True, slots=True, kw_only=True)
class PDU(Family):
    """`retain` is lambda at the start, `bound` in nats a token, `dual_rate` how fast lambda follows."""

    retain: float = 50.0
    bound: float = 1.5
    dual_rate: float = 1.0

    def forget_term(self, start: Start) -> Term:
        """How far the largest logit stands out."""
        return lambda batch: flatness(start.score(batch))

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Minimise L; see the module. The curve's retain loss is the weighted excess."""
        start = Start(model=model, corpora=corpora, trained=self.trained(model))
        dual = Dual(
            loss=retain_term(start, self.retain_loss), weight=self.retain, bound=self.bound, rate=self.dual_rate
        )
        fit(
            model,
            corpora,
            self,
            trained=start.trained,
            forget=self.forget_term(start),
            retain=dual.term,
            keeper=dual,
            seed=seed,
        )


@dataclass(slots=True, kw_only=True)
class Dual:
    """lambda, and what the retain loss of this step was."""

    loss: Term
    weight: float
    bound: float
    rate: float
    seen: list[float] = field(default_factory=list)

    def term(self, batch: Batch) -> Tensor:
        """Lambda (retain loss - bound)."""
        above = self.loss(batch) - self.bound
        self.seen.append(above.item())
        return self.weight * above

    def look(self, step: int, masters: Masters) -> None:  # noqa: ARG002 - what the loop calls a keeper with
        """Move lambda after a step."""
        self.weight = max(0.0, self.weight + self.rate * sum(self.seen) / len(self.seen))
        self.seen.clear()

    def state(self) -> dict[str, Tensor]:
        """lambda, for a resumed training."""
        return {"lambda": torch.tensor(self.weight, dtype=torch.float64)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self.weight = float(state["lambda"])


METHOD = PDU
