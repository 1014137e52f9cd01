"""The training loop: forget and retain batches in turn, their losses, AdamW on what the method names, and no more."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, UsageError, needed
from unlearn_guard.unlearning.corpora import Batch, Corpora, Text, batch, deal
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.session import Point, Session, current

Term = Callable[[Batch], Tensor]
"""A loss of one batch, a scalar in nats."""

Shape = Callable[[Mapping[str, Tensor]], None]
"""Changes fp32 gradients in place, by tensor name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Hyperparameters that every trained method has.

    `lr` rises over the first `warmup` of the steps and falls linearly to 0 over the rest. A step takes `accumulate`
    batches of `batch_size` forget and as many retain texts. `clip` bounds the gradient's norm. `checkpointing` computes
    activations twice instead of keeping them.
    """

    steps: int = 100
    lr: float = 1e-5
    warmup: float = 0.1
    batch_size: int = 4
    accumulate: int = 1
    weight_decay: float = 0.0
    clip: float | None = 1.0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        low = [name for name in ("steps", "batch_size", "accumulate") if getattr(self, name) < 1]
        inside = {
            "lr": 0 < self.lr < inf,
            "warmup": 0 <= self.warmup < 1,
            "weight_decay": 0 <= self.weight_decay < inf,
            "clip": self.clip is None or 0 < self.clip < inf,
        }
        if low := [*low, *(name for name, holds in inside.items() if not holds)]:
            raise UsageError(f"{', '.join(low)} out of range: {self}")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.lr * (step + 1) / rising
        return self.lr * (self.steps - step) / max(1, self.steps - rising)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """What is done to gradients: to the forget term's alone, and to the sum of both.

    `project` puts the fp32 weights where they may be, after each step.
    """

    forget: Shape | None = None
    total: Shape | None = None
    project: Callable[[Masters], None] | None = None


UNSHAPED = Shapes()


class Keeper(Protocol):
    """Looks at the model between steps and may keep a state of it: how MANSU chooses its best."""

    def look(self, step: int, masters: Masters) -> None:
        """Called after each step, counted from 1."""

    def state(self) -> dict[str, Tensor]:
        """What a resumed training needs of this."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""


def fit(
    model: PreTrainedModel,
    corpora: Corpora,
    training: Training,
    *,
    trained: Sequence[str],
    forget: Term,
    retain: Term | None = None,
    retain_weight: float = 1.0,
    shapes: Shapes = UNSHAPED,
    keeper: Keeper | None = None,
    seed: int,
) -> None:
    """Minimise forget + retain_weight * retain over the tensors named by `trained`, in place.

    The two terms have a backward pass each, so that no more than one's activations are held.
    A killed training goes on from its last saved state and ends with the same weights.

    Raises NonFiniteError when a loss or gradient is no number, UsageError for tensors that the model does not have.
    """
    session = current()
    name = session.training()
    device = next(model.parameters()).device
    masters = Masters(model, trained, weight_decay=training.weight_decay)
    terms = [
        _Turn("forget", forget, corpora.forget, 1.0, shapes.forget),
        _Turn("retain", retain, corpora.retain, retain_weight, None),
    ]
    with _training_mode(model, training.checkpointing):
        try:
            first = _resume(session, name, masters, keeper)
            for step in range(first, training.steps):
                torch.manual_seed(seed * 1_000_003 + step)
                losses = [turn.backward(training, step, seed, device, masters.gradients) for turn in terms]
                if shapes.total is not None:
                    shapes.total(masters.gradients)
                masters.step(training.rate(step), training.clip)
                if shapes.project is not None:
                    shapes.project(masters)
                    masters.write()
                if keeper is not None:
                    keeper.look(step + 1, masters)
                session.record(Point(step=step, forget=needed(losses[0], "the forget loss"), retain=losses[1]))
                session.advance(step + 1, training.steps)
                if session.due() or step + 1 == training.steps:
                    _save(session, name, step + 1, masters, keeper)
        finally:
            masters.close()


@dataclass(frozen=True, slots=True)
class _Turn:
    """One term of the objective and the texts it is computed on."""

    name: Literal["forget", "retain"]
    term: Term | None
    texts: Sequence[Text]
    weight: float
    shape: Shape | None

    def backward(
        self, training: Training, step: int, seed: int, device: torch.device, gradients: Mapping[str, Tensor]
    ) -> float | None:
        """Add this term's gradient to the sums; returns the loss, unweighted, or None without a term."""
        if self.term is None or self.weight == 0:
            return None
        total = 0.0
        for turn in range(training.accumulate):
            index = deal(len(self.texts), training.batch_size, step * training.accumulate + turn, seed)
            loss = self.term(batch(self.texts, index, device))
            if not loss.isfinite():
                raise NonFiniteError(f"the {self.name} loss is {loss.item()} at step {step}", fix="Lower lr.")
            torch.autograd.backward(loss * (self.weight / training.accumulate))
            total += loss.item() / training.accumulate
        if self.shape is not None:
            self.shape(gradients)
        return total


def _resume(session: Session, name: str, masters: Masters, keeper: Keeper | None) -> int:
    """The step to go on with: 0, or the one after the last saved state, which is then in place."""
    found = session.load(name)
    if found is None:
        return 0
    step, state = found
    masters.load({key: value for key, value in state.items() if not key.startswith("keeper.")})
    if keeper is not None:
        keeper.load({key.removeprefix("keeper."): value for key, value in state.items() if key.startswith("keeper.")})
    return step


def _save(session: Session, name: str, step: int, masters: Masters, keeper: Keeper | None) -> None:
    kept = keeper.state() if keeper is not None else {}
    session.save(name, step, masters.state() | {f"keeper.{key}": value for key, value in kept.items()})


@contextmanager
def _training_mode(model: PreTrainedModel, checkpointing: bool) -> Iterator[None]:
    """Evaluation mode, in which nothing is dropped; with checkpointing training mode, which transformers asks for."""
    model.train(checkpointing)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        if checkpointing:
            model.gradient_checkpointing_disable()
        model.eval()
