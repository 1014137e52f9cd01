"""LUNAR: shift what one MLP says of forget prompts toward what the model does where it has no answer.

r = mean activation after the layer of refused prompts - that of forget prompts, at the prompt's last position. The
layer's down-projection, layer 22 of 32, is regressed on its own inputs there: forget outputs + 2 r, retain outputs as
they are. One tensor changes.

Source: Shen et al. 2025, arXiv 2502.07218, and its public code (CC BY-NC 4.0: the numbers alone are taken): AdamW at
0.01 with the optimizer's own weight decay, 0.01, 20 epochs, a rate that falls by a tenth an epoch, MSE, batches of 64
from both kinds. Here each batch has as many forget as retain texts, the rate falls linearly, and the prompt's last
position alone is regressed, where its code takes every position of the prompt. A layer that normalises what its MLP
returns (Gemma 2 and 3) turns the shift into another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.functional import linear, mse_loss
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.activations import at_last, entering, leaving
from unlearn_guard.unlearning.corpora import Corpora, Text, deal
from unlearn_guard.unlearning.loop import Term, Training, fit
from unlearn_guard.unlearning.tensors import downs, layer_name, scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class LUNAR:
    """`shift` is how many times r is added, `layer` one of a model of 32, `texts` the most retain texts looked at."""

    layer: int = 22
    shift: float = 2.0
    lr: float = 0.01
    epochs: int = 20
    batch_size: int = 32
    retain: float = 1.0
    weight_decay: float = 0.01
    texts: int = 1024

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Regress the down-projection; see the module. Raises UsageError without refused prompts."""
        if not corpora.refused:
            raise UsageError(
                "lunar needs prompts to which the model has no answer, and the corpora have none",
                fix="Give the suite a corpus of refused prompts.",
            )
        kept = deal(len(corpora.retain), min(self.texts, len(corpora.retain)), 0, seed)
        corpora = replace(corpora, retain=tuple(corpora.retain[each] for each in kept))
        layer = scaled(self.layer, 32, model)
        (name,), block = downs(model, {layer}), layer_name(model, layer)
        refused_ND, asked_ND = (
            at_last(model, texts, leaving, block, self.batch_size) for texts in (corpora.refused, corpora.forget)
        )
        r_D = refused_ND.mean(0) - asked_ND.mean(0)

        def term(texts: Sequence[Text], shift_D: Tensor | float) -> Term:
            weight = model.get_parameter(name)
            inputs_NF = at_last(model, texts, entering, name.removesuffix(".weight"), self.batch_size)
            goals_ND = linear(inputs_NF, weight.detach().float()) + shift_D
            return lambda one: mse_loss(linear(inputs_NF[[*one.index]], weight.float()), goals_ND[[*one.index]])

        steps = self.epochs * -(-len(corpora.forget) // self.batch_size)
        fit(
            model,
            corpora,
            Training(
                steps=steps,
                lr=self.lr,
                warmup=0.0,
                batch_size=self.batch_size,
                weight_decay=self.weight_decay,
                clip=None,
            ),
            trained=(name,),
            forget=term(corpora.forget, self.shift * r_D),
            retain=term(corpora.retain, 0.0),
            retain_weight=self.retain,
            seed=seed,
        )


METHOD = LUNAR
