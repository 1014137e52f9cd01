"""The best state of a training: the least that is left of the forget set, while enough stays of the rest."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.records import Role
from unlearn_guard.unlearning.corpora import Corpora, Question
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.scoring import accuracy


class Best:
    """A keeper: every `every` steps and at `last` it asks the corpora's questions, and keeps the best state so far.

    Best is the lowest forget accuracy among states whose retain accuracy is not below `least`; of equals the last,
    trained longest and at the lowest learning rate. It holds one copy of the trained tensors, as they are stored.

    Source: arXiv 2605.15138, Section 4, Phase 3 (with MMLU as the retain questions; here the corpora's).
    """

    def __init__(
        self, model: PreTrainedModel, corpora: Corpora, trained: Sequence[str], *, least: float, every: int, last: int
    ) -> None:
        parameters = dict(model.named_parameters())
        self._model, self._trained = model, {name: parameters[name] for name in trained}
        self._asked = {role: questions_of(corpora, role) for role in (Role.FORGET, Role.RETAIN)}
        self._least, self._every, self._last = least, every, last
        self._kept: dict[str, Tensor] = {}
        self._left = float("inf")
        self._retained: list[float] = []

    def look(self, step: int, masters: Masters) -> None:  # noqa: ARG002 - the model already holds what they hold
        """Judge the model as it now is."""
        if step % self._every and step != self._last:
            return
        retain = accuracy(self._model, self._asked[Role.RETAIN])
        self._retained.append(retain)
        if retain < self._least:
            return  # whatever it forgot
        forget = accuracy(self._model, self._asked[Role.FORGET])
        if forget <= self._left:
            self._left = forget
            self._keep()

    @torch.no_grad()
    def _keep(self) -> None:
        """Into the copies that there are: two of them would not fit where one does."""
        for name, one in self._trained.items():
            if name in self._kept:
                self._kept[name].copy_(one)
            else:
                self._kept[name] = one.detach().clone()

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best state into the model. Raises UsageError where no state looked at retains enough."""
        if not self._kept:
            raise UsageError(
                f"no state of the training retains an accuracy of {self._least:.3f}; the best has "
                f"{max(self._retained, default=float('nan')):.3f}",
                fix="Lower lr, raise retain, lower share or add settle steps; choose=last takes the last state anyway.",
            )
        for name, one in self._trained.items():
            one.copy_(self._kept[name])

    def state(self) -> dict[str, Tensor]:
        """What a resumed training needs of this."""
        kept = {f"weight.{name}": one for name, one in self._kept.items()}
        numbers = torch.tensor([self._left, *self._retained], dtype=torch.float64)
        return {"numbers": numbers} | kept

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self._left, *self._retained = state["numbers"].tolist()
        self._kept = {
            name: state[f"weight.{name}"].to(one.device, copy=True)
            for name, one in self._trained.items()
            if f"weight.{name}" in state
        }


def questions_of(corpora: Corpora, role: Role) -> Sequence[Question]:
    """The questions by which states are chosen. Raises UsageError where there are none."""
    found = corpora.questions.get(role, ())
    if not found:
        raise UsageError(
            f"the corpora have no {role} questions, and the best state of the training is chosen by them",
            fix=f"Give the {role} corpus rows with a question, choices and answer; or choose=last, the last state.",
        )
    return found
