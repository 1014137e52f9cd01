"""What is to be forgotten and what is to stay, as token ids, and the batches that training takes from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unlearn_guard.errors import SuiteError
from unlearn_guard.records import Role

if TYPE_CHECKING:
    from unlearn_guard.attribution.prompts import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Token ids of which those from `start` on count: an answer after its prompt, or all but the first of a plain text.

    `instead`, where the corpus has one, is the same prompt with the answer that a preference method prefers.
    """

    ids: tuple[int, ...]
    start: int
    instead: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for ids in (self.ids, self.instead):
            if ids is not None and not 1 <= self.start < len(ids):
                raise SuiteError(f"a text of {len(ids)} tokens has none that counts from token {self.start} on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt, the continuations it may have, and which one is right."""

    prompt: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """All that a method may look at. Forget and retain tasks themselves are not in it.

    `questions` are for choosing among states of the training, never for judging the result. `refused` are prompts
    to which the model has no answer. `pairs` are the forget task's clean and corrupted prompts.
    """

    forget: tuple[Text, ...]
    retain: tuple[Text, ...]
    refused: tuple[Text, ...] = ()
    questions: Mapping[Role, tuple[Question, ...]] = field(default_factory=dict)
    pairs: "Sequence[Pair]" = ()

    def __post_init__(self) -> None:
        for name in ("forget", "retain"):
            if not getattr(self, name):
                raise SuiteError(f"the {name} corpus is empty", fix="A method needs texts of both kinds.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Texts side by side, padded on the right: ids and mask [B, T], and which tokens count [B, T].

    `index` says which texts of the corpus these are. Padding is masked, and never counts.
    """

    ids_BT: Tensor
    mask_BT: Tensor
    counted_BT: Tensor
    index: tuple[int, ...]

    @property
    def first(self) -> int:
        """The earliest position that counts; at least 1, as position 0 is predicted by nothing."""
        return int(self.counted_BT.any(0).nonzero()[0])

    @property
    def predicted_BT(self) -> Tensor:
        """Every token that something stands before, be it of an answer or not."""
        after_BT = self.mask_BT.clone()
        after_BT[:, 0] = False
        return after_BT

    @property
    def lengths_B(self) -> Tensor:
        """How many tokens of each text count."""
        return self.counted_BT.sum(1)


def batch(texts: Sequence[Text], index: Sequence[int], device: torch.device, *, instead: bool = False) -> Batch:
    """These texts of the corpus, or what should be said in their place. Raises SuiteError if one has no `instead`."""
    rows = [texts[each].instead if instead else texts[each].ids for each in index]
    if any(row is None for row in rows):
        raise SuiteError(
            "the forget corpus does not say what to answer instead",
            fix='Give its rows an "instead", or "wrong" answers to prefer.',
        )
    whole = [row for row in rows if row is not None]
    longest = max(map(len, whole))
    ids_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in whole], device=device)
    place_T = torch.arange(longest, device=device)
    length_B = torch.tensor([len(row) for row in whole], device=device)
    start_B = torch.tensor([texts[each].start for each in index], device=device)
    mask_BT = place_T < length_B[:, None]
    return Batch(ids_BT=ids_BT, mask_BT=mask_BT, counted_BT=mask_BT & (place_T >= start_B[:, None]), index=tuple(index))


def deal(count: int, size: int, turn: int, seed: int) -> list[int]:
    """The `turn`-th hand of `size` from endless shuffled decks of `count` cards.

    A function of its arguments alone, so that a resumed training deals what it would have dealt. Each card comes up
    once a deck; a hand may straddle two.
    """
    start = turn * size
    found: list[int] = []
    for place in range(start, start + size):
        deck, card = divmod(place, count)
        found.append(int(_deck(count, deck, seed)[card]))
    return found


@lru_cache(maxsize=8)
def _deck(count: int, number: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + number))
