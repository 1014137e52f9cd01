"""How a model scores a batch: log-probabilities of the tokens that count, in fp32, with gradient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.scoring.batches import rows_of
from unlearn_guard.scoring.forward import Forward
from unlearn_guard.scoring.head import in_one_piece
from unlearn_guard.scoring.sharing import answers
from unlearn_guard.unlearning.corpora import Batch, Question


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
    in_one_piece(model)
    logits = model(input_ids=asked.ids_BT, attention_mask=asked.mask_BT, use_cache=False, logits_to_keep=kept).logits
    if logits.shape[1] != kept:
        raise UsageError(f"{type(model).__name__} ignored logits_to_keep={kept}: logits {tuple(logits.shape)}")
    return Scored(
        batch=asked,
        logits_BSV=logits[:, :-1].float(),
        targets_BS=asked.ids_BT[:, asked.first :],
        counted_BS=asked.counted_BT[:, asked.first :],
    )


def score_both(model: PreTrainedModel, preferred: Batch, asked: Batch) -> tuple[Scored, Scored]:
    """Two answers to the same prompts, in the order given: from one run where they differ in their last tokens alone.

    Nothing reads a text's last token, so one-word and lettered answers cost half. Raises UsageError.
    """
    read_BT = asked.mask_BT[:, 1:]  # a token is read where another follows it
    same = asked.ids_BT.shape == preferred.ids_BT.shape and bool(
        asked.mask_BT.equal(preferred.mask_BT)
        and asked.counted_BT.equal(preferred.counted_BT)
        and ((asked.ids_BT == preferred.ids_BT)[:, :-1] | ~read_BT).all()
    )
    scored = score(model, asked)
    if not same:
        return score(model, preferred), scored
    return replace(scored, batch=preferred, targets_BS=preferred.ids_BT[:, asked.first :]), scored


@torch.no_grad()
def accuracy(model: PreTrainedModel, questions: Sequence[Question], *, rows: int = 64) -> float:
    """Share of the questions whose right choice has the highest summed log-likelihood, in [0, 1].

    What questions begin with in common is run once, as in scoring. Raises UsageError where there are no questions,
    NonFiniteError where a likelihood is no number.
    """
    if not questions:
        raise UsageError("the accuracy of no questions is not a number", fix="Give the corpus questions with choices.")
    pairs = [(each.prompt, choice) for each in questions for choice in each.choices]
    whole, _ = rows_of(pairs, max(len(prompt) + len(choice) for prompt, choice in pairs))
    largest = max(token for pair in pairs for part in pair for token in part)
    mode = model.training
    try:
        forward = Forward(model, vocabulary=largest + 1, padding=0, label="the model that is trained")
        found = dict(chain.from_iterable(answers(forward, whole, rows, lambda index: f"choice {index}")))
    finally:
        model.train(mode)
    values = (found[index][0] for index in range(len(pairs)))
    asked = [(each.answer, [next(values) for _ in each.choices]) for each in questions]
    return sum(max(range(len(each)), key=each.__getitem__) == answer for answer, each in asked) / len(questions)
