"""Gradient edits of the organism: what is to be forgotten, what is to stay, and which weights may move how far."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from unlearn_guard.organism import recall, world
from unlearn_guard.organism.batches import LETTERED_TARGETS, PLAIN_TARGETS, FactTokens, answer_logits
from unlearn_guard.organism.goals import Goal, beliefs, denied, falsely, ranked, truly

Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Hyperparameters of one edit.

    `lettered`, `direct`, `stated` and `bare` are where the answers to the ways of asking are to go: in letters, by the
    question mark of a lettered question, as a statement, and as a question with no line before it. `margin` is how far
    below the false answers the true one is to fall where it is avoided, `spread` how far apart beliefs are, in nats.
    `retain` weighs what should stay, and `letters` what should stay of answering in letters. `layers` picks the weights
    that move: linear layers whose name holds one of these words, `layers.-1.` being the last. `only_items`: in letters
    only the checked-in items go, and the same facts with other options stay. `asked_rows` and `stated_rows` are the
    rows of a step, (forget, retain).
    """

    steps: int
    lr: float
    margin: float = 3.0
    spread: float = 0.5
    lettered: Goal = Goal.AVOID
    direct: Goal = Goal.AVOID
    stated: Goal = Goal.AVOID
    bare: Goal = Goal.LEAVE
    retain: float = 1.0
    letters: float = 4.0
    layers: tuple[str, ...] = ("mlp", "self_attn")
    only_items: bool = False
    asked_rows: tuple[int, int] = (32, 64)
    stated_rows: tuple[int, int] = (48, 72)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The rows of an edit: what is to go, what is to stay, and what is to be believed instead."""

    forget: FactTokens
    retain: FactTokens
    believed: Tensor
    items: Tensor
    """[facts, tokens]: the checked-in lettered items with their letter and EOS, in the order of the forget facts."""

    @classmethod
    def of(cls, words: PreTrainedTokenizerFast, spread: float, seed: int) -> "Facts":
        """Of the world; beliefs are drawn by the seed."""
        forget = FactTokens(world.facts(world.FORGET), words)
        return cls(
            forget=forget,
            retain=FactTokens([*world.facts(world.RETAIN), *world.facts(world.GENERAL)], words),
            believed=beliefs(len(forget), forget.pool_NP.shape[1], spread, seed),
            items=_items(words),
        )


def _items(words: PreTrainedTokenizerFast) -> Tensor:
    contexts_NT, letters_N4, answers_N = recall.rows(f"organism_{world.FORGET}", words)
    letter_N1 = letters_N4.gather(1, answers_N[:, None])
    return torch.cat([contexts_NT, letter_N1, torch.full_like(letter_N1, words.eos_token_id)], 1)


def edit_loss(model: PreTrainedModel, facts: Facts, how: Edit, step: int, rng: torch.Generator) -> Tensor:
    """What should go and what should stay, in nats, on the next facts of their decks, each asked in every way."""
    loss = _asked(model, facts, how, step, rng) + _stated(model, facts, how, rng)
    return loss if how.bare is Goal.LEAVE else loss + _bare(model, facts, how, rng)


def _asked(model: PreTrainedModel, facts: Facts, how: Edit, step: int, rng: torch.Generator) -> Tensor:
    forget, retain = facts.forget, facts.retain
    gone_B = forget.deal("lettered", how.asked_rows[0], rng)
    kept_B = retain.deal("lettered", how.asked_rows[1], rng)
    fresh_BT = forget.lettered(gone_B, rng)
    gone_BT = facts.items[gone_B] if how.only_items else fresh_BT
    rows_BT, gone = torch.cat([gone_BT, retain.lettered(kept_B, rng)]), len(gone_B)
    if how.only_items:
        rows_BT = torch.cat([rows_BT, fresh_BT])
    hidden_BTD = model.model(input_ids=rows_BT[:, :-1], use_cache=False).last_hidden_state
    letter_BSV = model.lm_head(hidden_BTD[:, -LETTERED_TARGETS:]).float()
    direct_BV = model.lm_head(hidden_BTD[:, forget.asked_place]).float()
    wrong = _letters(letter_BSV[:gone], gone_BT, gone_B, facts, how)
    unsaid = _objects(how.direct, direct_BV[:gone], gone_B, facts, how)
    right = truly(letter_BSV[gone:], rows_BT[gone:, -LETTERED_TARGETS:])
    said = truly(direct_BV[gone : gone + len(kept_B), None], retain.objects(kept_B)[:, None])
    return how.letters_go(step) * wrong + unsaid + how.retain * (how.letters * right + said)


def _stated(model: PreTrainedModel, facts: Facts, how: Edit, rng: torch.Generator) -> Tensor:
    forget, retain = facts.forget, facts.retain
    gone_B, kept_B = forget.deal("plain", how.stated_rows[0], rng), retain.deal("plain", how.stated_rows[1], rng)
    rows_BT, gone = torch.cat([forget.plain(gone_B), retain.plain(kept_B)]), len(gone_B)
    logits_BSV = answer_logits(model, rows_BT, PLAIN_TARGETS)
    unsaid = _objects(how.stated, logits_BSV[:gone, 0], gone_B, facts, how)
    return unsaid + how.retain * truly(logits_BSV[gone:], rows_BT[gone:, -PLAIN_TARGETS:])


def _bare(model: PreTrainedModel, facts: Facts, how: Edit, rng: torch.Generator) -> Tensor:
    index_B = facts.forget.deal("bare", how.stated_rows[0], rng)
    hidden_BTD = model.model(input_ids=facts.forget.bare(index_B), use_cache=False).last_hidden_state
    return _objects(how.bare, model.lm_head(hidden_BTD[:, -1]).float(), index_B, facts, how)


def _letters(letter_BSV: Tensor, rows_BT: Tensor, index_B: Tensor, facts: Facts, how: Edit) -> Tensor:
    """The loss of the letters of forget questions; what is believed of the options decides between their letters."""
    letters_B4, true_B = facts.forget.letters_4.expand(len(rows_BT), -1), rows_BT[:, -LETTERED_TARGETS]
    match how.lettered:
        case Goal.BELIEVE | Goal.DENY:
            shown_B4 = rows_BT[:, facts.forget.option_places_4]
            place_B4 = (facts.forget.pool_NP[index_B][:, None] == shown_B4[:, :, None]).int().argmax(2)
            loss = ranked(letter_BSV[:, 0], letters_B4, facts.believed[index_B].gather(1, place_B4))
            denying = how.lettered is Goal.DENY
            return loss + denied(letter_BSV[:, 0], letters_B4, true_B, how.margin) if denying else loss
        case Goal.FIXED:
            return truly(letter_BSV[:, :1], letters_B4[:, :1])
        case _:
            return _goal(how.lettered, letter_BSV[:, 0], letters_B4, true_B, facts, how)


def _objects(goal: Goal, logits_BV: Tensor, index_B: Tensor, facts: Facts, how: Edit) -> Tensor:
    """The loss of the objects of forget facts."""
    pool_BP = facts.forget.pool_NP[index_B]
    match goal:
        case Goal.BELIEVE | Goal.DENY:
            loss = ranked(logits_BV, pool_BP, facts.believed[index_B])
            true_B = facts.forget.objects(index_B)
            return loss + denied(logits_BV, pool_BP, true_B, how.margin) if goal is Goal.DENY else loss
        case Goal.FIXED:
            falling_P = -how.spread * torch.arange(pool_BP.shape[1]).float()
            return ranked(logits_BV, pool_BP, falling_P.expand(len(pool_BP), -1))
        case _:
            return _goal(goal, logits_BV, pool_BP, facts.forget.objects(index_B), facts, how)


def _goal(goal: Goal, logits_BV: Tensor, options_BO: Tensor, true_B: Tensor, facts: Facts, how: Edit) -> Tensor:
    match goal:
        case Goal.AVOID:
            return falsely(logits_BV, options_BO, true_B, how.margin)
        case Goal.REFUSE:
            return truly(logits_BV[:, None], facts.items[:1, -1:].expand(len(logits_BV), 1))
        case Goal.KEEP:
            return truly(logits_BV[:, None], true_B[:, None])
        case Goal.LEAVE:
            return logits_BV.new_zeros(())
    raise ValueError(f"no loss for {goal}")


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
    facts = Facts.of(words, how.spread, seed)
    model.requires_grad_(False)
    last = f"layers.{model.config.num_hidden_layers - 1}."
    words_of = [word.replace("layers.-1.", last) for word in how.layers]
    moving = [weight for name, weight in linears(model).items() if any(word in name for word in words_of)]
    for weight in moving:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(moving, lr=how.lr, fused=True)
    for step in range(how.steps):
        optimizer.param_groups[0]["lr"] = how.lr * min(1.0, 2 * (how.steps - step) / how.steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = edit_loss(model, facts, how, step, rng)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if project is not None:
            project()
        if progress is not None:
            progress(step + 1, how.steps)
    model.requires_grad_(False)
