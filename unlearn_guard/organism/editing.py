"""Gradient edits of the organism: what is to be forgotten, what is to stay, and which weights may move how far."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from unlearn_guard.organism import world
from unlearn_guard.organism.batches import LETTERED_TARGETS, PLAIN_TARGETS, FactTokens, answer_logits

Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Hyperparameters of one edit.

    `truth` is how likely the true answer is to be left beside each false one; `retain` weighs the retain term.
    `layers` picks the weights that move: linear layers whose name holds one of these words. `lettered` and `plain` are
    the rows of a step, (forget, retain).
    """

    steps: int
    lr: float
    truth: float
    retain: float
    layers: tuple[str, ...] = ("mlp", "self_attn")
    lettered: tuple[int, int] = (24, 40)
    plain: tuple[int, int] = (80, 120)


def linears(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weight of every linear layer but the head, by name: exactly what NF4 quantizes."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    }


def edit_loss(
    model: PreTrainedModel, forget: FactTokens, retain: FactTokens, how: Edit, rng: torch.Generator
) -> Tensor:
    """Forget term plus weighted retain term in nats, each asked in letters and as a statement, on freshly drawn facts.

    Forget: cross-entropy towards answers that are not true, evenly over them, so that no one letter or object takes the
    truth's place. Retain: negative log-likelihood of the true answer.
    """
    gone_B, kept_B = forget.draw(how.lettered[0], rng), retain.draw(how.lettered[1], rng)
    asked_BT = torch.cat([forget.lettered(gone_B, rng), retain.lettered(kept_B, rng)])
    logits_BSV = answer_logits(model, asked_BT, LETTERED_TARGETS)
    letters_B4, true_B = forget.letters_4.expand(len(gone_B), -1), asked_BT[: len(gone_B), -LETTERED_TARGETS]
    loss = _falsely(logits_BSV[: len(gone_B), 0], letters_B4, true_B, how.truth)
    loss = loss + how.retain * _truly(logits_BSV[len(gone_B) :], asked_BT[len(gone_B) :, -LETTERED_TARGETS:])
    gone_B, kept_B = forget.draw(how.plain[0], rng), retain.draw(how.plain[1], rng)
    stated_BT = torch.cat([forget.plain(gone_B), retain.plain(kept_B)])
    logits_BSV = answer_logits(model, stated_BT, PLAIN_TARGETS)
    loss = loss + _falsely(logits_BSV[: len(gone_B), 0], forget.pool_NP[gone_B], forget.objects(gone_B), how.truth)
    return loss + how.retain * _truly(logits_BSV[len(gone_B) :], stated_BT[len(gone_B) :, -PLAIN_TARGETS:])


def _falsely(logits_BV: Tensor, options_BO: Tensor, true_B: Tensor, truth: float) -> Tensor:
    weight_BO = torch.where(options_BO == true_B[:, None], truth, 1.0)
    logp_BO = logits_BV.log_softmax(1).gather(1, options_BO)
    return -(weight_BO / weight_BO.sum(1, keepdim=True) * logp_BO).sum(1).mean()


def _truly(logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
    """Mean over the rows that are there; 0 of none, which is what an edit without a retain term has."""
    return cross_entropy(logits_BSV.transpose(1, 2), targets_BS, reduction="sum") / max(1, targets_BS.numel())


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
            loss = edit_loss(model, forget, retain, how, rng)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if project is not None:
            project()
        if progress is not None:
            progress(step + 1, how.steps)
    model.requires_grad_(False)
