"""A method that is a loss: L = forget + retain * (what should stay). One family member is one short file on this."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.unlearning.corpora import Batch, Corpora, batch
from unlearn_guard.unlearning.loop import UNSHAPED, Shapes, Term, Training, fit
from unlearn_guard.unlearning.losses import dpo, kl, simpo
from unlearn_guard.unlearning.reference import Reference
from unlearn_guard.unlearning.scoring import Scored, score, score_both
from unlearn_guard.unlearning.tensors import every, factors


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a training starts: the model as base left it, the corpora, and the names of what will move."""

    model: PreTrainedModel
    corpora: Corpora
    trained: tuple[str, ...]

    @cached_property
    def reference(self) -> Reference:
        """Base, frozen. Ask for it before the training begins."""
        return Reference(self.model, self.trained)

    def score(self, batch: Batch) -> Scored:
        """The model as it is now, with gradient."""
        return score(self.model, batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Training):
    """Hyperparameters that every loss has beside the training's.

    `retain` weighs the retain term against the forget term. That is the NLL of the retain texts, or KL(base || model)
    on them.
    """

    retain: float = 1.0
    retain_loss: Literal["nll", "kl"] = "nll"

    def trained(self, model: PreTrainedModel) -> tuple[str, ...]:
        """The tensors that move: an adapter's where there is one, else all, unless a method says otherwise."""
        return factors(model) or every(model)

    def forget_term(self, start: Start) -> Term:
        """The loss of a forget batch."""
        raise NotImplementedError

    def shapes(self, start: Start, seed: int) -> Shapes:  # noqa: ARG002 - for those that need them
        """What is done to gradients and weights: nothing, unless a method says otherwise."""
        return UNSHAPED

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Minimise the loss; see the class."""
        start = Start(model=model, corpora=corpora, trained=self.trained(model))
        fit(
            model,
            corpora,
            self,
            trained=start.trained,
            forget=self.forget_term(start),
            retain=retain_term(start, self.retain_loss) if self.retain else None,
            retain_weight=self.retain,
            shapes=self.shapes(start, seed),
            seed=seed,
        )


def retain_term(start: Start, loss: Literal["nll", "kl"]) -> Term:
    """NLL of retain texts, or KL(base || model) on them."""
    if loss == "nll":
        return lambda batch: start.score(batch).nll
    base = start.reference
    return lambda batch: kl(start.score(batch), base.score(batch).logits_BSV)


def preference_term(start: Start, compared: Callable[[Batch, Batch], Tensor]) -> Term:
    """A loss of what should be said and of the truth, as batches of the same prompts in that order.

    Raises SuiteError, before anything is trained, where the forget corpus does not say what to answer instead.
    """
    texts = start.corpora.forget
    batch(texts, range(len(texts)), start.model.device, instead=True)
    return lambda asked: compared(batch(texts, asked.index, asked.ids_BT.device, instead=True), asked)


def dpo_term(start: Start, beta: float) -> Term:
    """DPO: the answer to give instead against the true one, both relative to base. Raises as preference_term."""
    model, base = start.model, start.reference

    def compared(preferred: Batch, asked: Batch) -> Tensor:
        before, now = base.score_both(preferred, asked), score_both(model, preferred, asked)
        return dpo(now[0], before[0].nll_B, now[1], before[1].nll_B, beta)

    return preference_term(start, compared)


def simpo_term(start: Start, beta: float, gamma: float) -> Term:
    """SimPO: the same by a margin, without base. Raises as preference_term."""
    model = start.model
    return preference_term(start, lambda preferred, asked: simpo(*score_both(model, preferred, asked), beta, gamma))
