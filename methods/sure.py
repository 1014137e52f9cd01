"""SURE: a large learning rate on the weight rows that matter most to the forget texts, under any loss.

Rows of linear layers whose gradient of the forget loss at base is as long as a percentile of all rows' or longer are
trained; every other row keeps its bytes. A large rate moves weights far enough to outlast quantization.

Source: Zhang et al., ICLR 2025, arXiv 2410.16454. Its public code (zzwjames/FailureLLMUnlearning, no licence named: the
rule alone is taken) has rows and a percentile too, 90 by default. Deviations: it chooses anew for each batch, here once
at base; it also chooses among head, embeddings and biases, which 4-bit formats leave alone and which stay here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.corpora import batch, deal
from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.gradients import gradient
from unlearn_guard.unlearning.loop import Shapes, Term
from unlearn_guard.unlearning.losses import ascent, npo, simnpo, undial, wga
from unlearn_guard.unlearning.tensors import linears

OVER: dict[str, tuple[float, Callable[[Start, float], Term]]] = {
    "ga": (0.0, lambda start, _: lambda asked: ascent(start.score(asked))),
    "npo": (0.1, lambda start, beta: lambda asked: npo(start.score(asked), start.reference.nll_B(asked), beta)),
    "simnpo": (4.5, lambda start, beta: lambda asked: simnpo(start.score(asked), beta, 0.0)),
    "wga": (1.0, lambda start, beta: lambda asked: wga(start.score(asked), beta)),
    "undial": (
        10.0,
        lambda start, beta: lambda asked: undial(start.score(asked), start.reference.score(asked).logits_BSV, beta),
    ),
}
"""Losses that rows can be chosen and trained by: the default of `beta`, and the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SURE(Family):
    """`over` is the forget loss, `beta` its own (None: as that method has it), `percentile` from 0 to below 100.

    At most `texts` forget texts choose the rows.
    """

    lr: float = 1e-4
    over: Literal["ga", "npo", "simnpo", "wga", "undial"] = "npo"
    beta: float | None = None
    percentile: float = 90.0
    texts: int = 256

    def __post_init__(self) -> None:
        Family.__post_init__(self)
        if self.over not in OVER:
            raise UsageError(f"sure has no loss {self.over!r} to train over", fix=f"Known: {', '.join(OVER)}.")
        if not 0 <= self.percentile < 100 or self.texts < 1:
            raise UsageError(f"percentile must be from 0 to below 100, and texts at least 1: {self}")
        if self.weight_decay:
            raise UsageError("weight_decay would move the rows that sure keeps", fix="Leave it at 0.")

    def trained(self, model: PreTrainedModel) -> tuple[str, ...]:
        """The linear layers that hold the rows."""
        return linears(model)

    def forget_term(self, start: Start) -> Term:
        """The loss that is named."""
        beta, made = OVER[self.over]
        return made(start, beta if self.beta is None else self.beta)

    def shapes(self, start: Start, seed: int) -> Shapes:  # noqa: ARG002 - the rows are the same for every seed
        """Nothing but the chosen rows has a gradient."""
        forget = start.corpora.forget
        chosen = deal(len(forget), min(self.texts, len(forget)), 0, seed=0)
        hands = [chosen[first : first + self.batch_size] for first in range(0, len(chosen), self.batch_size)]
        batches = (batch(forget, hand, start.model.device) for hand in hands)
        found = gradient(start.model, start.trained, self.forget_term(start), batches)
        rows = salient({name: one.norm(dim=-1) for name, one in found.items()}, self.percentile)

        def keep(gradients: Mapping[str, Tensor]) -> None:
            for name, kept_R in rows.items():
                gradients[name].mul_(kept_R[..., None])  # of a stack of experts, R is experts and rows

        return Shapes(total=keep)


def salient(norms: Mapping[str, Tensor], percentile: float) -> dict[str, Tensor]:
    """Which rows of each tensor have a norm at or above the percentile of all rows of all tensors.

    Raises UsageError where no row has a gradient at all.
    """
    bar = float(np.percentile(torch.cat([one.flatten() for one in norms.values()]).cpu().double().numpy(), percentile))
    found = {name: (one_R.double() >= bar) & (one_R > 0) for name, one_R in norms.items()}
    if not any(bool(kept_R.any()) for kept_R in found.values()):
        raise UsageError(
            "the forget texts pull on no row, so none is salient", fix="Look at the forget corpus: nothing is learnt."
        )
    return found


METHOD = SURE
