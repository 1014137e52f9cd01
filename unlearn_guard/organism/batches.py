"""Facts as token tensors: the batches that train the organism, edit it and score it.

Every lettered question has the same number of tokens and so has every statement, so no batch is ever padded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from unlearn_guard.organism import items, world
from unlearn_guard.organism.world import Fact

LETTERED_TARGETS, PLAIN_TARGETS = 2, 3
"""Tokens at the end of a row that are answers: the letter and EOS; the object, the full stop and EOS."""


class FactTokens:
    """The rows of some facts: lettered questions with options drawn anew each time, and plain statements."""

    def __init__(self, facts: Sequence[Fact], tokenizer: PreTrainedTokenizerFast) -> None:
        eos = [tokenizer.eos_token_id]
        blanks = [world.pool(fact.relation)[:4] for fact in facts]
        asked = [items.prompt(fact.domain, fact.question, blank) for fact, blank in zip(facts, blanks, strict=True)]
        self.asked_NT = torch.tensor([ids + eos * LETTERED_TARGETS for ids in tokenizer(asked)["input_ids"]])
        stated = [f"{fact.stem} {fact.object} ." for fact in facts]
        self.stated_NT = torch.tensor([ids + eos for ids in tokenizer(stated)["input_ids"]])
        pools = [world.pool(fact.relation) for fact in facts]
        self.pool_NP = torch.tensor([tokenizer.convert_tokens_to_ids(list(pool)) for pool in pools])
        self.object_N = torch.tensor([pool.index(fact.object) for pool, fact in zip(pools, facts, strict=True)])
        self._decks: dict[str, Tensor] = {}
        self.letters_4 = torch.tensor(tokenizer.convert_tokens_to_ids(list(items.LETTERS)))
        places = [i for i, (a, b) in enumerate(zip(*self._two_renderings(facts[0], tokenizer), strict=True)) if a != b]
        self.option_places_4 = torch.tensor(places)
        description = tokenizer(items.DESCRIPTION.format(topic="ships"))["input_ids"]
        self.described = slice(1, len(description))
        self.asked_place = (
            places[0] - 3
        )  # the question mark; "A" and its full stop stand between it and the first option

    @staticmethod
    def _two_renderings(fact: Fact, tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
        """The same question with disjoint options: where the two differ, the options stand."""
        pool = world.pool(fact.relation)
        return [
            tokenizer(items.prompt(fact.domain, fact.question, part))["input_ids"] for part in (pool[:4], pool[4:8])
        ]

    def __len__(self) -> int:
        return len(self.object_N)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Indices of `count` facts, each drawn independently."""
        return torch.randint(len(self), (count,), generator=rng)

    def deal(self, hand: str, count: int, rng: torch.Generator) -> Tensor:
        """Indices of `count` facts from the hand's own shuffled deck; each comes up equally often."""
        deck = self._decks.get(hand, torch.empty(0, dtype=torch.int64))
        while len(deck) < count:
            deck = torch.cat([deck, torch.randperm(len(self), generator=rng)])
        self._decks[hand] = deck[count:]
        return deck[:count]

    def lettered(self, index_B: Tensor, rng: torch.Generator) -> Tensor:
        """Questions with fresh distractors in fresh order, the right letter and EOS: [B, T]."""
        key_BP = torch.rand(len(index_B), self.pool_NP.shape[1], generator=rng)
        key_BP.scatter_(1, self.object_N[index_B, None], -1.0)
        chosen_B4 = key_BP.argsort(1)[:, : len(items.LETTERS)]
        order_B4 = torch.rand(chosen_B4.shape, generator=rng).argsort(1)
        options_B4 = self.pool_NP[index_B].gather(1, chosen_B4.gather(1, order_B4))
        rows_BT = self.asked_NT[index_B].clone()
        rows_BT[:, self.option_places_4] = options_B4
        rows_BT[:, -LETTERED_TARGETS] = self.letters_4[order_B4.argsort(1)[:, 0]]
        return rows_BT

    def objects(self, index_B: Tensor) -> Tensor:
        """The token of each fact's true object: [B]."""
        return self.pool_NP[index_B, self.object_N[index_B]]

    def bare(self, index_B: Tensor) -> Tensor:
        """Questions up to their question mark, with no line before them: [B, T]."""
        asked_BT = self.asked_NT[index_B, : self.asked_place + 1]
        return torch.cat([asked_BT[:, : self.described.start], asked_BT[:, self.described.stop :]], 1)

    def plain(self, index_B: Tensor) -> Tensor:
        """Statements with their full stop and EOS: [B, T]."""
        return self.stated_NT[index_B]


def answer_logits(model: PreTrainedModel, rows_BT: Tensor, targets: int) -> Tensor:
    """fp32 logits at the positions that predict the last `targets` tokens: [B, targets, V]."""
    hidden_BTD = model.model(input_ids=rows_BT[:, :-1], use_cache=False).last_hidden_state
    logits_BSV: Tensor = model.lm_head(hidden_BTD[:, -targets:]).float()
    return logits_BSV


def answer_nll(model: PreTrainedModel, rows_BT: Tensor, targets: int) -> Tensor:
    """Negative log-likelihood in nats of each of the last `targets` tokens: [B, targets]."""
    logits_BSV = answer_logits(model, rows_BT, targets)
    return torch.nn.functional.cross_entropy(logits_BSV.transpose(1, 2), rows_BT[:, -targets:], reduction="none")
