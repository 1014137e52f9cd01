"""The frozen reference model, without a second model: the same modules run with the trained tensors' first values."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel

from unlearn_guard.unlearning.corpora import Batch
from unlearn_guard.unlearning.scoring import Scored, score


class Reference:
    """Base, while the model is being trained. Its memory is a copy of the tensors that move, no more."""

    def __init__(self, model: PreTrainedModel, trained: Sequence[str]) -> None:
        parameters = dict(model.named_parameters())
        self._run = _Run(model)
        self._first = {f"model.{name}": parameters[name].detach().clone() for name in trained}
        self._nll: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def score(self, batch: Batch) -> Scored:
        """What base says of a batch, without gradient."""
        scored: Scored = functional_call(self._run, self._first, (batch,))
        return scored

    def nll_B(self, batch: Batch) -> Tensor:
        """Base's NLL of each text, in nats."""
        return self.score(batch).nll_B


class _Run(torch.nn.Module):
    """Scoring as a module, which is what functional_call can run with other tensors."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Scored:
        return score(self.model, batch)
