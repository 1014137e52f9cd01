"""Shrink: multiply one layer's MLP by a factor. No method to use, but all that one needs."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from unlearn_guard.unlearning.corpora import Corpora
from unlearn_guard.unlearning.tensors import mlps


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrink:
    """`factor` is what is left of the MLP of `layer`."""

    layer: int = 0
    factor: float = 0.9

    @torch.no_grad()
    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Scale the weights in place; the corpora and the seed play no part."""
        for name in mlps(model, {self.layer}):
            model.get_parameter(name).mul_(self.factor)
