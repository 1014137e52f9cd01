"""How a model scores a batch: log-probabilities of the tokens that count, in fp32, with gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.corpora import Batch, Question, Text, batch


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """fp32 logits [B, S, V] at the positions that predict the last S tokens, those tokens, and which of them count."""

    batch: Batch
    logits_BSV: Tensor
    targets_BS: Tensor
    counted_BS: Tensor

    @cached_property
    def logp_BS(self) -> Tensor:
        """Log-probability of each token in nats; 0 where it does not count."""
        logp_BS = self.logits_BSV.log_softmax(-1).gather(-1, self.targets_BS[..., None])[..., 0]
        return logp_BS.masked_fill(~self.counted_BS, 0.0)

    @cached_property
    def nll_B(self) -> Tensor:
        """Negative log-likelihood of each text, in nats: the sum over its tokens that count."""
        return -self.logp_BS.sum(1)

    @property
    def nll(self) -> Tensor:
        """Mean negative log-likelihood of a token, in nats, over all tokens of the batch."""
        return self.nll_B.sum() / self.counted_BS.sum()


def score(model: PreTrainedModel, asked: Batch) -> Scored:
    """Run the model on a batch. Logits are computed from the first token that counts on. Raises UsageError."""
    kept = asked.ids_BT.shape[1] - asked.first + 1
    logits = model(input_ids=asked.ids_BT, attention_mask=asked.mask_BT, use_cache=False, logits_to_keep=kept).logits
    if logits.shape[1] != kept:
        raise UsageError(f"{type(model).__name__} ignored logits_to_keep={kept}: logits {tuple(logits.shape)}")
    return Scored(
        batch=asked,
        logits_BSV=logits[:, :-1].float(),
        targets_BS=asked.ids_BT[:, asked.first :],
        counted_BS=asked.counted_BT[:, asked.first :],
    )


@torch.no_grad()
def accuracy(model: PreTrainedModel, questions: Sequence[Question], *, rows: int = 64) -> float:
    """Share of the questions whose right choice has the highest summed log-likelihood, in [0, 1].

    Raises UsageError where there are no questions, NonFiniteError where a likelihood is no number.
    """
    if not questions:
        raise UsageError("the accuracy of no questions is not a number", fix="Give the corpus questions with choices.")
    device = next(model.parameters()).device
    asked = [(place, choice) for place, each in enumerate(questions) for choice in range(len(each.choices))]
    asked.sort(key=lambda pair: len(questions[pair[0]].prompt))
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(asked), rows):
        part = asked[start : start + rows]
        for pair, value in zip(part, _likelihoods(model, questions, part, device), strict=True):
            found[pair] = value
    right = sum(_chosen(found, place, each) == each.answer for place, each in enumerate(questions))
    return right / len(questions)


def _chosen(found: Mapping[tuple[int, int], float], place: int, question: Question) -> int:
    return max(range(len(question.choices)), key=lambda choice: found[place, choice])


def _likelihoods(
    model: PreTrainedModel, questions: Sequence[Question], part: Sequence[tuple[int, int]], device: torch.device
) -> list[float]:
    texts = [
        Text(ids=questions[place].prompt + questions[place].choices[choice], start=len(questions[place].prompt))
        for place, choice in part
    ]
    values_B = -score(model, batch(texts, range(len(texts)), device)).nll_B
    if not values_B.isfinite().all():
        raise NonFiniteError("a choice's log-likelihood is NaN or infinite", fix="The training diverged: lower lr.")
    return [float(value) for value in values_B]
