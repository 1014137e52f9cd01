"""One question of a user: what is asked, the choices, and which answer is right beyond doubt."""

import difflib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearn_guard.authoring.rows_file import Row
from unlearn_guard.errors import Defect, near
from unlearn_guard.records import Role

KEYS = ("question", "choices", "answer", "split")
MOST_CHOICES = 26
"""As many as there are letters."""

_CHOICES = ("option", "choice", "alternative", "distractor")
"""How other sets name what is called `choices` here. Left out, a question would ask for a written answer."""

_NAMES = "Keys are question, choices, answer and split; columns question, choice_1, choice_2, ... or A, B, ..., answer."
_SPLITS = {role.value: role for role in (Role.FORGET, Role.RETAIN)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A question with its right answer as a text; `choices` is empty where the answer has to be written."""

    question: str
    choices: tuple[str, ...]
    answer: str
    role: Role
    where: str

    @property
    def right(self) -> int:
        """The place of the right choice, from 0."""
        return self.choices.index(self.answer)

    @property
    def wrong(self) -> tuple[str, ...]:
        """The choices that are not right."""
        return tuple(each for each in self.choices if each != self.answer)

    @property
    def asked(self) -> tuple[str, ...]:
        """What makes it the same question as another: its words and its choices, in whichever order."""
        return (_spaced(self.question), *sorted(map(_spaced, self.choices)))


def shuffled(entry: Entry, seed: int) -> Entry:
    """The same question, its choices in an order drawn from the seed and the question."""
    choices = list(entry.choices)
    random.Random(f"{seed}:{entry.question}").shuffle(choices)
    return replace(entry, choices=tuple(choices))


def entry_of(row: Row, role: Role | None) -> Entry | list[Defect]:
    """The question of one row, or all that is wrong with it. `role` is the file's; None where each row has to say."""
    faults = _Faults(row.where)
    faults.strangers(row.values)
    question = faults.text("question", row.values.get("question"))
    choices = _choices(faults, row.values["choices"]) if "choices" in row.values else ()
    found = _role(faults, row.values.get("split"), role)
    answer = _answer(faults, row, choices) if not faults.defects else ""
    if faults.defects:
        return faults.defects
    return Entry(question=question, choices=choices, answer=answer, role=found, where=row.where)


def repeats(entries: Sequence[Entry]) -> Iterator[Defect]:
    """Questions that say again what an earlier one says; worst, one to be forgotten that is also to be kept."""
    first: dict[tuple[str, ...], Entry] = {}
    for each in entries:
        earlier = first.setdefault(each.asked, each)
        if earlier is each:
            continue
        if earlier.role is not each.role:
            found = f"a question to {_verb(each.role)} that {earlier.where} says to {_verb(earlier.role)}"
        elif _spaced(earlier.answer) != _spaced(each.answer):
            found = f"the question of {earlier.where} with another answer"
        else:
            found = f"the question of {earlier.where} again"
        yield Defect(where=each.where, found=found, expected="each question once")


def _verb(role: Role) -> str:
    return "forget" if role is Role.FORGET else "keep"


def _spaced(text: str) -> str:
    return " ".join(text.split())


class _Faults:
    """What is wrong with one row so far."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.defects: list[Defect] = []

    def add(self, found: str, expected: str, fix: str = "") -> None:
        self.defects.append(Defect(where=self.where, found=found, expected=expected, fix=fix))

    def strangers(self, values: Mapping[str, Any]) -> None:
        """A key that looks like a missing one; others are the user's own affair, and left out."""
        missing = [key for key in KEYS if key not in values]
        for key in (each for each in values if each not in KEYS):
            plain = key.strip().casefold()
            close = difflib.get_close_matches(plain, missing, n=1, cutoff=0.75)
            meant = "choices" if "choices" in missing and plain.startswith(_CHOICES) else (*close, "")[0]
            if meant:
                self.add(f"the key {key!r}"[:80], f"`{meant}`", _NAMES)

    def text(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self.add(f"{key} {value!r}"[:80] if value is not None else f"no {key}", "a text that is not empty")
            return ""
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            self.add(f"{key} with half of a character", "text")
        return value.strip()


def _choices(faults: _Faults, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= MOST_CHOICES:
        faults.add(
            f"choices {value!r}"[:80], f"a list of 2 to {MOST_CHOICES} texts", "Without choices leave the key out."
        )
        return ()
    choices = tuple(faults.text(f"choice {number}", each) for number, each in enumerate(value, 1))
    seen: dict[str, int] = {}
    for number, each in enumerate(choices, 1):
        if each and seen.setdefault(_spaced(each), number) != number:
            faults.add(f"choice {number} is choice {seen[_spaced(each)]} again: {each!r}"[:120], "choices that differ")
    return choices


def _role(faults: _Faults, value: Any, role: Role | None) -> Role:
    told = _SPLITS.get(value.strip()) if isinstance(value, str) else None
    if value is not None and told is None:
        faults.add(f"split {value!r}"[:80], "forget or retain")
    elif told is None and role is None:
        faults.add(
            "no split", "forget or retain", "Or give the questions to keep in a file of their own: --retain FILE."
        )
    elif told is not None and role is not None and told is not role:
        faults.add(f"split {told.value}", f"{role.value}, which this file is given as")
    return told or role or Role.FORGET


def _answer(faults: _Faults, row: Row, choices: tuple[str, ...]) -> str:
    value = row.values.get("answer")
    if not choices:
        return faults.text("answer", value)
    if type(value) is int:
        named = {value} if 0 <= value < len(choices) else set()
        named |= {at for at, each in enumerate(choices) if named and each == str(value)}
        expected = f"an index from 0 to {len(choices) - 1}"
    else:
        text = faults.text("answer", value)
        lettered = {at for at, names in enumerate(row.labels[: len(choices)]) if text.casefold() in _folded(names)}
        named = {at for at, each in enumerate(choices) if each == text} | lettered
        expected = "the text of one choice, or its letter"
    if faults.defects:
        return ""
    if len(named) != 1:
        several = " and ".join(repr(choices[at])[:40] for at in sorted(named))
        found = f"answer {value!r}"[:80] + (f", which may be {several}" if named else "")
        faults.add(found, expected, _hint(value, choices))
        return ""
    return choices[named.pop()]


def _hint(value: object, choices: Sequence[str]) -> str:
    if not isinstance(value, str):
        return "Write the text of a choice in quotes."
    return (
        near(value, choices) if not value.strip().isdecimal() else "Write its letter; in JSON an index has no quotes."
    )


def _folded(names: Sequence[str]) -> set[str]:
    return {each.casefold() for each in names}
