"""The questions of a suite in the making: what is to be forgotten, and what is to stay."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from unlearn_guard.authoring.entry import KEYS, Entry, entry_of, repeats
from unlearn_guard.authoring.rows_file import read_rows, refuse
from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.records import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Every question in its file's order, the keys that were left out, and name and sha256 of the files."""

    entries: tuple[Entry, ...]
    ignored: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]

    def of(self, role: Role) -> tuple[Entry, ...]:
        """Those to forget, or those to keep."""
        return tuple(each for each in self.entries if each.role is role)


def read_questions(forget: Path, retain: Path | None) -> Questions:
    """The questions of one file whose rows say `split`, or of two files.

    Raises SuiteError with every row at fault: what cannot be asked, what is asked twice, what is to be both forgotten
    and kept, and a set that mixes choices with answers to be written.
    """
    files = [(forget, None)] if retain is None else [(forget, Role.FORGET), (retain, Role.RETAIN)]
    entries: list[Entry] = []
    defects: list[Defect] = []
    ignored: Counter[str] = Counter()
    for path, role in files:
        rows = read_rows(path)
        if role is None and not any("split" in row.values for row in rows):
            raise SuiteError(
                f"{path} does not say which questions are to be kept, and a suite asks both",
                fix='Give those in a file of their own, --retain FILE; or put "split": "forget" or "retain" into each.',
            )
        for row in rows:
            made = entry_of(row, role)
            ignored.update(key for key in row.values if key not in KEYS)
            if isinstance(made, Entry):
                entries.append(made)
            else:
                defects += made
    refuse("questions that cannot be used", defects or list(repeats(entries)))
    for role in (Role.FORGET, Role.RETAIN):
        _assert_alike([each for each in entries if each.role is role], role)
    sources = tuple((path.name, sha256(path.read_bytes()).hexdigest()) for path, _ in files)
    return Questions(entries=tuple(entries), ignored=tuple(ignored), sources=sources)


def _assert_alike(entries: Sequence[Entry], role: Role) -> None:
    if not entries:
        raise SuiteError(f"there is no question to {'forget' if role is Role.FORGET else 'keep'}")
    odd = next((each for each in entries if bool(each.choices) != bool(entries[0].choices)), None)
    if odd is not None:
        found, others = ("choices", "no choices") if odd.choices else ("no choices", "choices")
        raise SuiteError(
            f"the {role} questions are not of one kind",
            [Defect(where=odd.where, found=found, expected=f"{others}, as {entries[0].where} has")],
            fix="Make a suite of each kind: their scores cannot be averaged.",
        )
    if not entries[0].choices and all(len(each.answer) == 1 for each in entries):
        raise SuiteError(
            f"the answers to the {role} questions are single letters, and there are no choices that they could name",
            [Defect(where=entries[0].where, found=f"answer {entries[0].answer!r}", expected="choices, or words")],
            fix="Give the choices as `choices`, or in columns A, B, ... or choice_1, choice_2, ...",
        )
