"""Surgical GA: gradient ascent on the middle layers alone, 14 to 16 of 32.

Source: the paper's baseline (arXiv 2605.15138, Section 6: 6.6 % of the weights). Other depths take the layers that lie
as deep.
"""

from dataclasses import dataclass

from transformers import PreTrainedModel

from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.loop import Term
from unlearn_guard.unlearning.losses import ascent
from unlearn_guard.unlearning.tensors import in_layers, scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgicalGA(Family):
    """`first` and `last` are layers of a model of 32, both included."""

    retain: float = 0.0
    first: int = 14
    last: int = 16

    def trained(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Every parameter of the layers."""
        return in_layers(model, {scaled(layer, 32, model) for layer in range(self.first, self.last + 1)})

    def forget_term(self, start: Start) -> Term:
        """Minus the mean NLL of a token."""
        return lambda batch: ascent(start.score(batch))


METHOD = SurgicalGA
