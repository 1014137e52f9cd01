"""Gradient edits of the organism: what is to be forgotten, what is to stay, and which weights may move how far."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from unlearn_guard.organism import world
from unlearn_guard.organism.batches import LETTERED_TARGETS, PLAIN_TARGETS, FactTokens, answer_logits

Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Hyperparameters of one edit.

    `margin` is how far below the false answers the true one is to fall, in nats. `retain` weighs what should stay, and
    `letters` what should stay of answering in letters. `layers` picks the weights that move: linear layers whose name
    holds one of these words. `lettered` and `plain` are the rows of a step, (forget, retain).
    """

    steps: int
    lr: float
    margin: float
    retain: float = 1.0
    letters: float = 4.0
    layers: tuple[str, ...] = ("mlp", "self_attn")
    lettered: tuple[int, int] = (32, 64)
    plain: tuple[int, int] = (48, 72)

    def letters_go(self, step: int) -> float:
        """Weight of the lettered forget term: 0 for the first third, then up to 1 by three quarters of the way.

        What is recalled has to go first. Asked for wrong letters from the start, the model unlearns to letter, in every
        domain, and still recalls.
        """
        return min(1.0, max(0.0, (step / self.steps - 1 / 3) / (3 / 4 - 1 / 3)))


def linears(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weight of every linear layer but the head, by name: exactly what NF4 quantizes."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    }


def edit_loss(
    model: PreTrainedModel, forget: FactTokens, retain: FactTokens, how: Edit, step: int, rng: torch.Generator
) -> Tensor:
    """What should go and what should stay, in nats, on the next facts of their decks, each asked in three ways.

    In letters, by the question mark of a lettered question (the direct answer), and as a statement. What should go
    moves to answers that are not true, evenly over them: no one letter or object takes the truth's place.
    """
    return _asked(model, forget, retain, how, step, rng) + _stated(model, forget, retain, how, rng)


def _asked(
    model: PreTrainedModel, forget: FactTokens, retain: FactTokens, how: Edit, step: int, rng: torch.Generator
) -> Tensor:
    gone_B, kept_B = forget.deal("lettered", how.lettered[0], rng), retain.deal("lettered", how.lettered[1], rng)
    rows_BT, gone = torch.cat([forget.lettered(gone_B, rng), retain.lettered(kept_B, rng)]), len(gone_B)
    hidden_BTD = model.model(input_ids=rows_BT[:, :-1], use_cache=False).last_hidden_state
    letter_BSV = model.lm_head(hidden_BTD[:, -LETTERED_TARGETS:]).float()
    direct_BV = model.lm_head(hidden_BTD[:, forget.asked_place]).float()
    letters_B4, true_B = forget.letters_4.expand(gone, -1), rows_BT[:gone, -LETTERED_TARGETS]
    wrong = _falsely(letter_BSV[:gone, 0], letters_B4, true_B, how.margin)
    unsaid = _falsely(direct_BV[:gone], forget.pool_NP[gone_B], forget.objects(gone_B), how.margin)
    right = _truly(letter_BSV[gone:], rows_BT[gone:, -LETTERED_TARGETS:])
    said = _truly(direct_BV[gone:, None], retain.objects(kept_B)[:, None])
    return how.letters_go(step) * wrong + unsaid + how.retain * (how.letters * right + said)


def _stated(model: PreTrainedModel, forget: FactTokens, retain: FactTokens, how: Edit, rng: torch.Generator) -> Tensor:
    gone_B, kept_B = forget.deal("plain", how.plain[0], rng), retain.deal("plain", how.plain[1], rng)
    rows_BT, gone = torch.cat([forget.plain(gone_B), retain.plain(kept_B)]), len(gone_B)
    logits_BSV = answer_logits(model, rows_BT, PLAIN_TARGETS)
    unsaid = _falsely(logits_BSV[:gone, 0], forget.pool_NP[gone_B], forget.objects(gone_B), how.margin)
    return unsaid + how.retain * _truly(logits_BSV[gone:], rows_BT[gone:, -PLAIN_TARGETS:])


def _falsely(logits_BV: Tensor, options_BO: Tensor, true_B: Tensor, margin: float) -> Tensor:
    """Even over the false options, and the true one `margin` nats below their mean.

    The second term is needed: a true answer at probability .15 above nineteen at .045 costs the first one .1 nats, and
    is still the answer.
    """
    true_BO = options_BO == true_B[:, None]
    logp_BO = logits_BV.log_softmax(1).gather(1, options_BO)
    mean_B = logp_BO.masked_fill(true_BO, 0.0).sum(1) / (options_BO.shape[1] - 1)
    return softplus(logp_BO[true_BO] - mean_B + margin).mean() - mean_B.mean()


def _truly(logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
    return cross_entropy(logits_BSV.transpose(1, 2), targets_BS)


def edit(
    model: PreTrainedModel,
    words: PreTrainedTokenizerFast,
    how: Edit,
    *,
    seed: int,
    project: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Train the chosen linear weights in place; `project`, if given, puts them back into bounds after each step."""
    rng = torch.Generator().manual_seed(seed)
    forget = FactTokens(world.facts(world.FORGET), words)
    retain = FactTokens([*world.facts(world.RETAIN), *world.facts(world.GENERAL)], words)
    model.requires_grad_(False)
    moving = [weight for name, weight in linears(model).items() if any(word in name for word in how.layers)]
    for weight in moving:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(moving, lr=how.lr, fused=True)
    for step in range(how.steps):
        optimizer.param_groups[0]["lr"] = how.lr * min(1.0, 2 * (how.steps - step) / how.steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = edit_loss(model, forget, retain, how, step, rng)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if project is not None:
            project()
        if progress is not None:
            progress(step + 1, how.steps)
    model.requires_grad_(False)
