"""The frozen reference model, without a second model: the same modules run with the trained tensors' first values."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel

from unlearn_guard.unlearning.corpora import Batch
from unlearn_guard.unlearning.scoring import Scored, score, score_both

T = TypeVar("T")


class Reference:
    """Base, while the model is being trained. Its memory is a copy of the tensors that move (`weights`), no more."""

    def __init__(self, model: PreTrainedModel, trained: Sequence[str]) -> None:
        parameters = dict(model.named_parameters())
        self._run = _Run(model)
        self.weights = {name: parameters[name].detach().clone() for name in trained}
        self._first = {f"model.{name}": weight for name, weight in self.weights.items()}

    @torch.no_grad()
    def read(self, function: Callable[[PreTrainedModel, Batch], T], batch: Batch) -> T:
        """What a function finds in base on a batch, without gradient."""
        found: T = functional_call(self._run, self._first, (function, batch))
        return found

    def score(self, batch: Batch) -> Scored:
        """What base says of a batch, without gradient."""
        return self.read(score, batch)

    def score_both(self, preferred: Batch, asked: Batch) -> tuple[Scored, Scored]:
        """What base says of two answers to the same prompts, without gradient."""
        return self.read(lambda model, batch: score_both(model, preferred, batch), asked)

    def nll_B(self, batch: Batch) -> Tensor:
        """Base's NLL of each text, in nats."""
        return self.score(batch).nll_B


class _Run(torch.nn.Module):
    """A function of the model as a module, which is what functional_call can run with other tensors."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[PreTrainedModel, Batch], T], batch: Batch) -> T:
        return function(self.model, batch)
