"""Prompt pairs: one prompt that the model can answer, and one of the same length that takes the answer away.

Source: the clean / corrupted pairs of EAP-IG (Hanna et al. 2024). How the paper corrupts its prompts is
not to be had; the neutral stem is how authors of a sibling project do it, the choice of neutral text ours.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

from unlearn_guard.errors import Defect, SuiteError

NEUTRAL_STEM = "Which of the following statements is the correct one"
"""What a question's stem is replaced by, cut or repeated to the stem's token count."""

T = TypeVar("T")

_KEYS = ("clean", "corrupted", "target", "wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Token ids of a clean and a corrupted prompt of equal length, the right next token and the wrong ones."""

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    target: int
    wrong: tuple[int, ...]
    where: str

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise SuiteError("a prompt pair cannot be compared", [fault])

    def _fault(self) -> Defect | None:
        if len(self.clean) != len(self.corrupted):
            found = f"{len(self.clean)} clean and {len(self.corrupted)} corrupted tokens"
            fix = "Swap in a word or stem of as many tokens."
            return Defect(where=self.where, found=found, expected="as many of one as of the other", fix=fix)
        if not self.clean:
            return Defect(where=self.where, found="no tokens", expected="at least one")
        if self.clean == self.corrupted:
            return Defect(where=self.where, found="the same prompt twice", expected="two that differ")
        if not self.wrong:
            return Defect(where=self.where, found="no wrong answer", expected="at least one")
        if self.target in self.wrong:
            return Defect(where=self.where, found=f"target {self.target} among the wrong", expected="it only as target")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A prompt that names a subject, the word that completes it, and words that do not."""

    prompt: str
    subject: str
    target: str
    wrong: tuple[str, ...]
    where: str


def read_pairs(path: Path, tokenizer: Any | None = None) -> tuple[Pair, ...]:
    """The pairs of a jsonl file: {"clean", "corrupted", "target", "wrong"}, texts or lists of token ids.

    Token ids are taken as they are and need no tokenizer. Raises SuiteError with every line at fault.
    """
    return _each_line(path, lambda where, line: _parse(where, line, tokenizer))


def assert_shape(path: Path) -> None:
    """Refuse a file of pairs that no tokenizer could read, as `read_pairs` does."""
    _each_line(path, _shape)


def _each_line(path: Path, read: Callable[[str, str], T]) -> tuple[T, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path} cannot be read as prompt pairs: {error}") from error
    tasks = [(f"{path.name}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not tasks:
        raise SuiteError(f"{path} holds no prompt pair")
    found: list[T] = []
    defects: list[Defect] = []
    for where, line in tasks:
        try:
            found.append(read(where, line))
        except SuiteError as error:
            defects += error.defects
    if defects:
        raise SuiteError(f"{path} holds prompt pairs that cannot be used", defects)
    return tuple(found)


def _shape(where: str, line: str) -> dict[str, Any]:
    """The four values of one line: all texts, or prompts that are lists of token ids."""
    try:
        held = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _refused(where, f"no JSON ({error})", "one object a line") from error
    if not isinstance(held, dict) or set(held) != set(_KEYS):
        found = sorted(held) if isinstance(held, dict) else type(held).__name__
        raise _refused(where, str(found), "exactly the keys " + ", ".join(_KEYS))
    wrong = held["wrong"]
    if not isinstance(wrong, list) or not wrong:
        raise _refused(f"{where}: wrong", repr(wrong), "a list of at least one answer")
    texts = [held["clean"], held["corrupted"], held["target"], *wrong]
    if not _in_ids(held) and not all(isinstance(text, str) for text in texts):
        raise _refused(where, "a mixture of texts, ids or other values", "all texts, or all token ids")
    return held


def _parse(where: str, line: str, tokenizer: Any | None) -> Pair:
    held = _shape(where, line)
    if _in_ids(held):
        return _from_ids(where, held)
    if tokenizer is None:
        raise _refused(where, "texts, but no tokenizer", "token ids, or a model that brings its tokenizer")
    return text_pair(tokenizer, **held, where=where)


def _in_ids(held: dict[str, Any]) -> bool:
    return all(_is_ids(held[key]) for key in ("clean", "corrupted"))


def _from_ids(where: str, held: dict[str, Any]) -> Pair:
    target, *wrong = (_one_id(where, value) for value in (held["target"], *held["wrong"]))
    return Pair(
        clean=tuple(held["clean"]), corrupted=tuple(held["corrupted"]), target=target, wrong=tuple(wrong), where=where
    )


def _one_id(where: str, value: Any) -> int:
    """A token id, alone or as a list of one."""
    ids = value if isinstance(value, list) else [value]
    if len(ids) != 1 or not _is_ids(ids):
        raise _refused(where, f"the answer {value!r}", "one token id, as the prompts are token ids")
    return int(ids[0])


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int and one >= 0 for one in value)


def _refused(where: str, found: str, expected: str, fix: str = "") -> SuiteError:
    return SuiteError("a prompt pair cannot be used", [Defect(where=where, found=found, expected=expected, fix=fix)])


def text_pair(
    tokenizer: Any, *, clean: str, corrupted: str, target: str, wrong: Sequence[str], where: str = "pair"
) -> Pair:
    """A pair from texts, tokenized as a prompt is (with the tokenizer's own BOS, once). Answers are one token each."""
    return Pair(
        clean=_encode(tokenizer, clean),
        corrupted=_encode(tokenizer, corrupted),
        target=_next_token(tokenizer, clean, target, where),
        wrong=tuple(_next_token(tokenizer, clean, text, where) for text in wrong),
        where=where,
    )


def lettered_pair(
    tokenizer: Any,
    *,
    prompt: str,
    stem: str,
    choices: Sequence[str],
    answer: int,
    neutral: str = NEUTRAL_STEM,
    where: str = "question",
) -> Pair:
    """A WMDP or MMLU question and the same options under a neutral stem of exactly as many tokens.

    `prompt` is the whole rendered question up to the answer and holds `stem` once; `choices` are the
    answers as they would follow it (" A", " B", ...), `answer` the index of the right one. Every token that lies wholly
    inside the stem is replaced; one that it shares with its neighbours (a full stop merged with a line
    break) stays.
    """
    if prompt.count(stem) != 1 or not stem:
        raise _refused(where, f"the stem {stem[:60]!r} {prompt.count(stem)} times in the prompt", "it exactly once")
    if not 0 <= answer < len(choices):
        raise _refused(where, f"answer {answer} of {len(choices)} choices", "an index of choices")
    clean = _encode(tokenizer, prompt)
    inside = _tokens_inside(tokenizer, prompt, stem, where)
    filler = islice(cycle(_neutral_ids(tokenizer, neutral, where)), len(inside))
    swapped = dict(zip(inside, filler, strict=True))
    letters = [_next_token(tokenizer, prompt, choice, where) for choice in choices]
    return Pair(
        clean=clean,
        corrupted=tuple(swapped.get(position, token) for position, token in enumerate(clean)),
        target=letters[answer],
        wrong=tuple(letter for index, letter in enumerate(letters) if index != answer),
        where=where,
    )


def swap_subjects(tokenizer: Any, facts: Sequence[Fact]) -> tuple[Pair, ...]:
    """Each fact against its own prompt with another fact's subject: the next one, going round, that fits.

    It fits if the prompt keeps its token count and the other fact's target is another. Raises SuiteError
    naming every fact that no other fits.
    """
    pairs, defects = [], []
    for index, fact in enumerate(facts):
        others = (*facts[index + 1 :], *facts[:index])
        corrupted = next((text for other in others if (text := _swapped(tokenizer, fact, other))), None)
        if corrupted is None:
            found = f"no other subject as long as {fact.subject!r}"
            defects.append(Defect(where=fact.where, found=found, expected="one of as many tokens, with another target"))
            continue
        pairs.append(
            text_pair(
                tokenizer,
                clean=fact.prompt,
                corrupted=corrupted,
                target=fact.target,
                wrong=fact.wrong,
                where=fact.where,
            )
        )
    if defects or not pairs:
        raise SuiteError("subjects cannot be swapped", defects)
    return tuple(pairs)


def _swapped(tokenizer: Any, fact: Fact, other: Fact) -> str | None:
    if fact.prompt.count(fact.subject) != 1:
        raise _refused(fact.where, f"subject {fact.subject!r} in {fact.prompt!r}", "it exactly once")
    if other.subject == fact.subject or other.target == fact.target:
        return None
    text = fact.prompt.replace(fact.subject, other.subject)
    return text if len(_encode(tokenizer, text)) == len(_encode(tokenizer, fact.prompt)) else None


def _encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text)["input_ids"])


def _next_token(tokenizer: Any, prompt: str, answer: str, where: str) -> int:
    """The one token that `answer` adds to the prompt, read by tokenizing both without what a tokenizer appends."""
    before = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    after = tuple(tokenizer(prompt + answer, add_special_tokens=False)["input_ids"])
    if after[: len(before)] != before or len(after) != len(before) + 1:
        found = f"{answer!r} as {len(after) - len(before)} tokens after the prompt"
        raise _refused(where, found, "one token that leaves the prompt's own as they are", "Mind the space before it.")
    unknown = getattr(tokenizer, "unk_token_id", None)
    if after[-1] == unknown:
        raise _refused(where, f"{answer!r}, unknown to the tokenizer", "a word of its vocabulary")
    return int(after[-1])


def _tokens_inside(tokenizer: Any, prompt: str, stem: str, where: str) -> list[int]:
    if not getattr(tokenizer, "is_fast", False):
        raise _refused(where, f"{type(tokenizer).__name__}, which gives no offsets", "a fast tokenizer")
    start = prompt.index(stem)
    offsets = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    inside = [
        position
        for position, (low, high) in enumerate(offsets)
        if low < high and start <= low + (prompt[low:high][:1].isspace()) and high <= start + len(stem)
    ]
    if not inside:
        raise _refused(where, f"no token wholly inside the stem {stem[:60]!r}", "at least one")
    return inside


def _neutral_ids(tokenizer: Any, neutral: str, where: str) -> tuple[int, ...]:
    ids = tuple(tokenizer(neutral, add_special_tokens=False)["input_ids"])
    if not ids or getattr(tokenizer, "unk_token_id", None) in ids:
        raise _refused(where, f"the neutral stem {neutral!r}", "words that the tokenizer knows")
    return ids
