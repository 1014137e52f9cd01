"""RMU: make the activations of forget texts at one layer a fixed random vector, and leave those of retain texts alone.

L = MSE(h(x_f), c u) + alpha MSE(h(x_r), h_base(x_r)), h the output of layer 7 of 32, u a random unit vector; the
down-projections of layers 5 to 7 are trained. Other depths take the layers that lie as deep, at least one.

Source: Li et al. 2024, arXiv 2403.03218 (WMDP), Section 4; its code has c 20, alpha 100, and for Zephyr-7B c 6.5 and
alpha 1200. A vector of length c says nothing by itself: compare it with the length of the model's own activations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.unlearning.activations import leaving
from unlearn_guard.unlearning.corpora import Batch, Corpora
from unlearn_guard.unlearning.loop import Training, fit
from unlearn_guard.unlearning.reference import Reference
from unlearn_guard.unlearning.tensors import downs, layer_name, scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class RMU(Training):
    """`c` is the length that forget activations are driven to, `alpha` the weight of what should stay.

    `first` to `layer` are the layers of a model of 32 that are trained; `layer` is where activations are compared.
    """

    steps: int = 150
    lr: float = 5e-5
    clip: float | None = None
    c: float = 20.0
    alpha: float = 100.0
    first: int = 5
    layer: int = 7

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Minimise L; see the module."""
        trained = downs(model, {scaled(layer, 32, model) for layer in range(self.first, self.layer + 1)})
        block, base = layer_name(model, scaled(self.layer, 32, model)), Reference(model, trained)
        goal_D = self.c * direction(model.config.get_text_config().hidden_size, seed).to(model.device)

        def here(asked_of: PreTrainedModel, batch: Batch) -> Tensor:
            return leaving(asked_of, batch, block)

        fit(
            model,
            corpora,
            self,
            trained=trained,
            forget=lambda batch: mse(here(model, batch), goal_D, batch),
            retain=lambda batch: mse(here(model, batch), base.read(here, batch), batch),
            retain_weight=self.alpha,
            seed=seed,
        )


def direction(width: int, seed: int) -> Tensor:
    """u: entries uniform in [0, 1), then scaled to length 1, as in the source."""
    drawn_D = torch.rand(width, generator=torch.Generator().manual_seed(seed))
    unit_D: Tensor = drawn_D / drawn_D.norm()
    return unit_D


def mse(found_BTD: Tensor, goal_BTD: Tensor, batch: Batch) -> Tensor:
    """Mean over the width and over every token that is no padding."""
    each_BT = (found_BTD - goal_BTD).square().mean(-1)
    return each_BT[batch.mask_BT].mean()


METHOD = RMU
