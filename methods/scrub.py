"""SCRUB: a student that is driven from its teacher on what is to go, and kept to it on what is to stay.

L = -KL(base || model) on forget texts + alpha KL(base || model) on retain texts + gamma NLL of retain texts for the
first `opposed` of the steps, and then the last two alone, which repair what the first has cost.

Source: Kurmanji et al. 2023, arXiv 2302.09880; alpha .001 and gamma .99 as in its public code for classifiers (MIT), at
temperature 1. Deviations: it alternates epochs of the two signs, here both are in each step; its code has no language
models, where each token is a class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.corpora import Batch, Corpora
from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term, fit
from unlearn_guard.unlearning.losses import kl
from unlearn_guard.unlearning.masters import Masters


@dataclass(frozen=True, slots=True, kw_only=True)
class SCRUB(Family):
    """`alpha` weighs closeness to base, `gamma` the retain texts' NLL; `opposed` is a share of the steps."""

    alpha: float = 0.001
    gamma: float = 0.99
    opposed: float = 0.5

    def __post_init__(self) -> None:
        Family.__post_init__(self)
        if not 0 < self.opposed <= 1 or min(self.alpha, self.gamma) < 0:
            raise UsageError(f"opposed, alpha or gamma is out of range: {self}")
        if self.retain_loss != "nll":
            raise UsageError("scrub has both retain losses, weighed by alpha and gamma", fix="Leave retain_loss out.")

    def forget_term(self, start: Start) -> Term:
        """Minus the divergence from base."""
        base = start.reference
        return lambda batch: -kl(start.score(batch), base.score(batch).logits_BSV)

    def retain_term(self, start: Start) -> Term:
        """Alpha KL + gamma NLL."""
        base = start.reference

        def term(batch: Batch) -> Tensor:
            asked = start.score(batch)
            return self.alpha * kl(asked, base.score(batch).logits_BSV) + self.gamma * asked.nll

        return term

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Minimise L, with the forget term at first and without it then; see the module."""
        start = Start(model=model, corpora=corpora, trained=self.trained(model))
        forget = Opposed(term=self.forget_term(start), steps=max(1, round(self.opposed * self.steps)))
        fit(
            model,
            corpora,
            self,
            trained=start.trained,
            forget=forget,
            retain=self.retain_term(start),
            retain_weight=self.retain,
            keeper=forget,
            seed=seed,
        )


@dataclass(slots=True, kw_only=True)
class Opposed:
    """A term that counts for the first `steps` of a training, and weighs 0 after them."""

    term: Term
    steps: int
    taken: int = 0

    def __call__(self, batch: Batch) -> Tensor:
        """The term, or it times 0."""
        return self.term(batch) * float(self.taken < self.steps)

    def look(self, step: int, masters: Masters) -> None:  # noqa: ARG002 - what the loop calls a keeper with
        """Count a step."""
        self.taken = step

    def state(self) -> dict[str, Tensor]:
        """How many steps were taken, for a resumed training."""
        return {"taken": torch.tensor(self.taken)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self.taken = int(state["taken"])


METHOD = SCRUB
