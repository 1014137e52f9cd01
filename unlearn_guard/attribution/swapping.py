"""Prompt pairs from a task's own questions: each prompt against that of another question.

A pair stands where right and wrong answers part: "The author is named" for two names, not "The". So it asks for a fact
and not for the way in which an answer begins.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.errors import Defect, SuiteError

FEWEST = 5
"""With fewer pairs a task's attribution says nothing."""

Ids = tuple[int, ...]


class Why(StrEnum):
    """Why a question gives no pair."""

    UNPARTED = "right and wrong answers do not part at a token"
    UNKNOWN = "the answer is unknown to the tokenizer"
    TOLD = "the prompt gives the answer away"
    ALONE = "no other prompt of as many tokens with another answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt, the texts that continue it rightly, the likeliest to be told apart first, and those that do wrongly.

    Where no wrong text is known the right answers to the other questions are.
    """

    prompt: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The ids up to where right and wrong part, the right next id and the wrong ones."""

    clean: Ids
    target: int
    wrong: Ids
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The pairs that questions give, and why each of the other questions gives none."""

    pairs: tuple[Pair, ...]
    left_out: tuple[Why, ...]


def sort_out(tokenizer: Any, questions: Sequence[Question]) -> Sorted:
    """Each question against the prompt of another one: the next, going round, that fits.

    It fits if it has as many tokens and another target. A question is left out where no other fits, where its answers
    do not part, and where the prompt itself tells the right from the wrong: it holds the target, and not every wrong
    answer too.
    """
    seen = Seen(tokenizer)
    firsts = _firsts(tokenizer, questions)
    found = [_parting(tokenizer, question, firsts, seen) for question in questions]
    partings = [each for each in found if isinstance(each, Parting)]
    left_out = [each for each in found if isinstance(each, Why)]
    pairs = []
    for index, one in enumerate(partings):
        others = (*partings[index + 1 :], *partings[:index])
        fitting = (each.clean for each in others if len(each.clean) == len(one.clean) and each.target != one.target)
        corrupted = next((clean for clean in fitting if clean != one.clean), None)
        if corrupted is None:
            left_out.append(Why.ALONE)
            continue
        pairs.append(Pair(clean=one.clean, corrupted=corrupted, target=one.target, wrong=one.wrong, where=one.where))
    return Sorted(pairs=tuple(pairs), left_out=tuple(left_out))


def swapped_pairs(tokenizer: Any, questions: Sequence[Question], *, where: str = "task") -> tuple[Pair, ...]:
    """The pairs of `sort_out`. Raises SuiteError when there are fewer than `FEWEST`."""
    made = sort_out(tokenizer, questions)
    if len(made.pairs) < FEWEST:
        factual = len(made.pairs) + made.left_out.count(Why.ALONE)
        found = f"{len(made.pairs)} pairs from {len(questions)} questions, of which {factual} ask for a fact"
        expected = f"at least {FEWEST}: prompts as long as another's, answers that part at a word not in the prompt"
        fix = "Give a file of pairs, or leave `pairs` out."
        raise SuiteError("questions cannot be swapped", [Defect(where=where, found=found, expected=expected, fix=fix)])
    return made.pairs


class Seen:
    """Whether a prompt holds a token, whatever its case and the space before it."""

    def __init__(self, tokenizer: Any) -> None:
        self._decode: Callable[[list[int]], str] = tokenizer.decode
        self._words: dict[int, str | int] = {}

    def tells(self, parting: Parting) -> bool:
        """Whether the prompt alone tells the right token from the wrong ones; so does one that is no word."""
        target = self._word(parting.target)
        held = {self._word(each) for each in parting.clean}
        return not target or (target in held and not all(self._word(each) in held for each in parting.wrong))

    def _word(self, token: int) -> str | int:
        if token not in self._words:
            text = self._decode([token])
            # Parts of one character all look alike, and are told by their ids.
            self._words[token] = token if "\ufffd" in text else text.strip().casefold()
        return self._words[token]


def _parting(tokenizer: Any, question: Question, firsts: Ids, seen: Seen) -> Parting | Why:
    """Where the first right answer that parts from wrong ones does, unless the prompt tells them apart."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    why = Why.UNPARTED
    for right in question.right:
        if question.wrong:
            found = parting(tokenizer, question.prompt, right, question.wrong, question.where)
        else:
            found = _first(tokenizer, question, right, firsts)
        if found is None:
            continue
        if found.target == unknown:
            why = Why.UNKNOWN
        elif seen.tells(found):
            why = Why.TOLD
        else:
            return found
    return why


def parting(tokenizer: Any, prompt: str, right: str, wrong: Sequence[str], where: str) -> Parting | None:
    """Where most of the wrong texts part from the right one; the earliest place of equally many."""
    whole = _encode(tokenizer, prompt + right)
    apart = [each for text in wrong if (each := _apart(whole, _encode(tokenizer, prompt + text))) is not None]
    if not apart:
        return None
    counts = Counter(at for at, _ in apart)
    at = min(counts, key=lambda place: (-counts[place], place))
    others = dict.fromkeys(token for place, token in apart if place == at)
    return Parting(clean=whole[:at], target=whole[at], wrong=tuple(others), where=where)


def _apart(one: Ids, other: Ids) -> tuple[int, int] | None:
    """The first place at which two sequences differ, and the other's id there; None where one only goes on."""
    found = ((at, theirs) for at, (ours, theirs) in enumerate(zip(one, other, strict=False)) if ours != theirs)
    return next(((at, theirs) for at, theirs in found if at), None)


def _first(tokenizer: Any, question: Question, right: str, firsts: Ids) -> Parting | None:
    """At the answer's first token, against those of all other questions' answers."""
    first = _first_token(tokenizer, question.prompt, right)
    if first is None:
        return None
    clean, target = first
    wrong = tuple(each for each in firsts if each != target)
    return Parting(clean=clean, target=target, wrong=wrong, where=question.where) if wrong else None


def _firsts(tokenizer: Any, questions: Sequence[Question]) -> Ids:
    found = (_first_token(tokenizer, each.prompt, right) for each in questions for right in each.right[:1])
    return tuple(dict.fromkeys(each[1] for each in found if each is not None))


def _first_token(tokenizer: Any, prompt: str, right: str) -> tuple[Ids, int] | None:
    """A prompt without the spaces at its end, and the first token of its answer; None where the two merge."""
    kept = prompt.rstrip(" ")
    before, after = _encode(tokenizer, kept), _encode(tokenizer, f"{kept} {right.lstrip()}")
    return (before, after[len(before)]) if len(after) > len(before) > 0 and after[: len(before)] == before else None


def _encode(tokenizer: Any, text: str) -> Ids:
    return tuple(tokenizer(text)["input_ids"])
