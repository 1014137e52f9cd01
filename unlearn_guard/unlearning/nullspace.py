"""Directions that a training must not move in, and a training that does not.

Which directions: gradients of the retain texts' NLL at base, one a group of texts, orthonormal within each tensor. The
gradient of KL(base || model) itself is no choice before the training: at base it is exactly 0. Its second derivative
there is the Fisher information, which is made of the gradients of log-likelihoods; those of the retain texts stand for
it. Being base's, they are the same after a resume, and need not be saved.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.corpora import batch, deal
from unlearn_guard.unlearning.family import Family, Start
from unlearn_guard.unlearning.gradients import gradient
from unlearn_guard.unlearning.loop import Shapes
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.tensors import at_end, share

_NEW = 1e-4
"""A gradient of which less than this share is new has only rounding to add to the basis."""


class Basis:
    """For each tensor, orthonormal fp32 directions [K, N] that span the gradients it was made of."""

    def __init__(self, gradients: Iterable[Mapping[str, Tensor]]) -> None:
        found: dict[str, list[Tensor]] = {}
        for each in gradients:
            for name, one in each.items():
                held = found.setdefault(name, [])
                fresh = one.float().flatten().clone()
                before = fresh.norm()
                for _ in range(2):  # the second pass takes what rounding left of the first
                    for direction in held:
                        fresh -= direction * (direction @ fresh)
                if fresh.norm() > _NEW * before:
                    held.append(fresh / fresh.norm())
        self.directions = {name: torch.stack(held) for name, held in found.items() if held}

    def remove(self, tensors: Mapping[str, Tensor]) -> None:
        """Take out of each tensor, in place, all that lies along the directions: what is left is orthogonal to them."""
        for name, directions_KN in self.directions.items():
            flat_N = tensors[name].view(-1)
            for _ in range(2):
                flat_N -= (directions_KN @ flat_N) @ directions_KN


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthogonal(Family):
    """A loss whose forget gradient, and every step, is orthogonal to `directions` retain gradients of each tensor.

    Each direction is the gradient of `texts` retain texts. The last `layers` of 32 are trained, as large a share of
    another depth, and the final norm and the head; so are input embeddings that are tied to it. The directions take
    4 bytes times their number for each trained weight.

    The forget gradient is projected in the plain metric. AdamW divides each weight's gradient by its own scale, which
    turns the step out of the null space again; so after each step the fp32 weights are put back into it, the retain
    term's part included. Both are exact to fp32; rounding to the model's own dtype comes after. Public code projects
    the gradient once, in the metric of AdamW's second moments: its step is in the null space, and not this one.
    """

    directions: int = 8
    texts: int = 16
    layers: int = 5

    def __post_init__(self) -> None:
        Family.__post_init__(self)
        if min(self.directions, self.texts, self.layers) < 1:
            raise UsageError(f"directions, texts and layers must be at least 1: {self}")

    def trained(self, model: PreTrainedModel) -> tuple[str, ...]:
        """The last layers, the final norm and the head."""
        return at_end(model, share(self.layers, 32, model))

    def basis(self, start: Start, seed: int) -> Basis:
        """Of the model as it is, which has to be base."""
        retain, device = start.corpora.retain, start.model.device
        size = min(self.texts, len(retain))
        hands = (deal(len(retain), size, turn, seed) for turn in range(self.directions))
        return Basis(
            gradient(start.model, start.trained, lambda asked: start.score(asked).nll, [batch(retain, hand, device)])
            for hand in hands
        )

    def shapes(self, start: Start, seed: int) -> Shapes:
        """The forget gradient, and after each step the whole way from base, without what lies along the directions."""
        basis = self.basis(start, seed)
        parameters = dict(start.model.named_parameters())
        base = {name: parameters[name].detach().clone() for name in start.trained}

        def project(masters: Masters) -> None:
            moved = {name: master - base[name] for name, master in masters.weights.items()}
            basis.remove(moved)
            for name, master in masters.weights.items():
                torch.add(moved[name], base[name], out=master)

        return Shapes(forget=basis.remove, project=project)
