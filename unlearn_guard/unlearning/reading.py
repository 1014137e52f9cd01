"""Corpora from files and hub datasets: rows checked one by one, rendered, and turned into token ids."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.records import Role, Source
from unlearn_guard.scoring.tokens import OneBos
from unlearn_guard.scoring.words import AskedAs, asked_as
from unlearn_guard.unlearning.corpora import Corpora, Question, Text
from unlearn_guard.unlearning.rows import FORMS, rows_of

if TYPE_CHECKING:
    from unlearn_guard.attribution.prompts import Pair

LETTERS = ("A", "B", "C", "D")
QUESTIONS = 128
"""Questions of each role that a method may choose among its states by; more would cost more than they tell."""

_SHOWN_DEFECTS = 20

Encode = Callable[[str], tuple[int, ...]]
"""Token ids of a text, as the tokenizer writes it."""

_REMEMBERED = 64
"""Texts whose ids are kept: a row says its prompt several times over, and again for each of `times`."""


@dataclass(kw_only=True)
class _Read:
    """What has been read of one corpus so far."""

    encode: Encode
    max_tokens: int
    rng: random.Random
    words: Mapping[str, AskedAs]
    texts: list[Text] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)


def read_corpora(
    forget: Sequence[Source],
    retain: Sequence[Source],
    refused: Sequence[Source],
    *,
    tokenizer: Any,
    pairs: "Sequence[Pair]" = (),
    include: Sequence[Path] = (),
    max_tokens: int = 512,
    seed: int = 0,
) -> Corpora:
    """The corpora of these sources, with every row as token ids. `include` are where tasks that sources name lie.

    A row is {"text"}, cut into pieces of at most `max_tokens`; {"prompt" or "question", "answer"} with optional "wrong"
    (a list) and "instead"; or {"question", "choices", "answer"} with the answer's index, asked in letters with three
    wrong choices.
    The last two also become questions, where there are wrong answers. Raises SuiteError with every row at fault.
    """
    named = dict.fromkeys(each.asked for each in (*forget, *retain, *refused) if each.asked is not None)
    words = asked_as([*named], include, tokenizer)
    read = {
        name: _corpus(sources, tokenizer, max_tokens, random.Random(f"{seed}:{name}"), words)
        for name, sources in (("forget", forget), ("retain", retain), ("refused", refused))
    }
    defects = [defect for each in read.values() for defect in each.defects]
    if defects:
        raise SuiteError(f"{len(defects)} rows of the corpora cannot be used", defects[:_SHOWN_DEFECTS])
    return Corpora(
        forget=tuple(read["forget"].texts),
        retain=tuple(read["retain"].texts),
        refused=tuple(read["refused"].texts),
        questions={role: tuple(read[role.value].questions[:QUESTIONS]) for role in (Role.FORGET, Role.RETAIN)},
        pairs=pairs,
    )


def _corpus(
    sources: Sequence[Source], tokenizer: Any, max_tokens: int, rng: random.Random, words: Mapping[str, AskedAs]
) -> _Read:
    one = OneBos(tokenizer) if words else tokenizer  # a chat template writes BOS itself
    encode = lru_cache(_REMEMBERED)(lambda text: tuple(one(text)["input_ids"]))
    read = _Read(encode=encode, max_tokens=max_tokens, rng=rng, words=words)
    for source in sources:
        for where, row in rows_of(source):
            _take(read, source, where, row)
    rng.shuffle(read.questions)
    return read


def _take(read: _Read, source: Source, where: str, row: Any) -> None:
    """Add one row to what has been read, or what is wrong with it."""
    try:
        if not isinstance(row, dict):
            raise _UnusableError(repr(row)[:60], f"an object: {FORMS}")
        if "question" in row and "choices" in row:
            _take_question(read, source, row)
        elif "question" in row or "prompt" in row:
            _take_answer(read, source, row)
        elif not _is_blank(row.get(source.column)):  # wikitext is full of empty lines
            _take_text(read, _text(row, source.column))
    except _UnusableError as fault:
        read.defects.append(Defect(where=where, found=fault.found, expected=fault.expected))


class _UnusableError(Exception):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found, self.expected = found, expected


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _UnusableError(f"{key}: {value!r}"[:80], f"a text; rows are {FORMS}")
    return value


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _texts(row: Mapping[str, Any], key: str) -> list[str]:
    value = row.get(key)
    if not isinstance(value, list) or len(value) < 1 or not all(isinstance(one, str) and one.strip() for one in value):
        raise _UnusableError(f"{key}: {value!r}"[:80], "a list of texts")
    return value


def _take_text(read: _Read, text: str) -> None:
    ids = read.encode(text)
    pieces = [ids[start : start + read.max_tokens] for start in range(0, len(ids), read.max_tokens)]
    read.texts += [Text(ids=piece, start=1) for piece in pieces if len(piece) > 1]


def _take_answer(read: _Read, source: Source, row: Mapping[str, Any]) -> None:
    prompt, answer = _text(row, "prompt" if "prompt" in row else "question"), _text(row, "answer")
    wrong = _texts(row, "wrong") if "wrong" in row else []
    others = [str(row["instead"])] if "instead" in row else wrong
    if source.asked is not None:
        words = read.words[source.asked]
        try:
            prompt, answer = words.prompt(row), words.answer(words.target(row))
        except (KeyError, ValueError, TypeError) as error:
            raise _UnusableError(f"{row!r}"[:60], f"what {source.asked} reads: {error}") from error
        wrong, others = ([words.answer(each) for each in found] for found in (wrong, others))
    elif "question" in row and not answer[0].isspace():
        answer = f" {answer}"  # question sets hold the answer alone; a prompt's answer is spelt as it follows
    for _ in range(source.times):
        preferred = None if not others else others[0] if "instead" in row else read.rng.choice(others)
        _add(read, source.description + prompt, answer, preferred)
    if wrong:
        _ask(read, source.description + prompt, [answer, *wrong])


def _take_question(read: _Read, source: Source, row: Mapping[str, Any]) -> None:
    question, choices, answer = _text(row, "question"), _texts(row, "choices"), row.get("answer")
    if type(answer) is not int or not 0 <= answer < len(choices) or len(choices) < len(LETTERS):
        raise _UnusableError(
            f"answer {answer!r} of {len(choices)} choices", "the index of one of at least four choices"
        )
    others = [each for place, each in enumerate(choices) if place != answer]
    for _ in range(source.times):
        prompt, right = _lettered(read, source, question, choices[answer], others)
        letter, *rest = [f" {LETTERS[right]}", *(f" {each}" for each in LETTERS if each != LETTERS[right])]
        _add(read, prompt, letter, read.rng.choice(rest))
    prompt, right = _lettered(read, source, question, choices[answer], others)
    _ask(read, prompt, [f" {LETTERS[right]}", *(f" {each}" for each in LETTERS if each != LETTERS[right])])


def _lettered(read: _Read, source: Source, question: str, answer: str, others: Sequence[str]) -> tuple[str, int]:
    """The question as WMDP asks, with three wrong choices drawn anew and all four shuffled; and the right place."""
    shown = [answer, *read.rng.sample(list(others), k=len(LETTERS) - 1)]
    read.rng.shuffle(shown)
    options = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, shown, strict=True))
    return f"{source.description}{question.strip()}\n{options}\nAnswer:", shown.index(answer)


def _add(read: _Read, prompt: str, answer: str, instead: str | None) -> None:
    """A text whose answer counts, cut from the left where it is too long."""
    ids, start = _continued(read.encode, prompt, answer)
    other = None if instead is None else _continued(read.encode, prompt, instead)
    if other is not None and other[1] != start:
        raise _UnusableError("answers that change how the prompt is tokenized", "answers that begin with a space")
    cut = max(0, len(ids) - read.max_tokens, 0 if other is None else len(other[0]) - read.max_tokens)
    cut = min(cut, start - 1)
    read.texts.append(Text(ids=ids[cut:], start=start - cut, instead=other[0][cut:] if other is not None else None))


def _ask(read: _Read, prompt: str, answers: Sequence[str]) -> None:
    """A question whose right answer comes first here, and anywhere in what is kept: ties must not favour it."""
    right, *wrong = [_continued(read.encode, prompt, each) for each in answers]
    place = read.rng.randrange(len(answers))
    choices = [*wrong[:place], right, *wrong[place:]]
    start = min(first for _, first in choices)
    cut = tuple(ids[start:] for ids, _ in choices)
    read.questions.append(Question(prompt=right[0][:start], choices=cut, answer=place))


def _continued(encode: Encode, prompt: str, answer: str) -> tuple[tuple[int, ...], int]:
    """Token ids of prompt and answer together, and where they stop being the prompt's own."""
    before, whole = encode(prompt), encode(prompt + answer)
    same = next((i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(before))
    if not 1 <= same < len(whole):
        raise _UnusableError("an answer that adds no token to its prompt", "a prompt, and an answer that follows it")
    return whole, same
