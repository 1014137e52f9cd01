"""A file of questions as rows: JSON Lines or CSV, each with the line that it begins in."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.reading.strict_json import loads

SHOWN = 20
"""How many defects of a file are named; the summary says how many there are."""

_NUMBERED = re.compile(r"choice_([0-9]{1,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: `file:line`, its values by key, and for each choice the words that may name it as the answer."""

    where: str
    values: Mapping[str, Any]
    labels: tuple[tuple[str, ...], ...] = tuple((letter,) for letter in ascii_uppercase)


def read_rows(path: Path) -> tuple[Row, ...]:
    """Every row of a .jsonl or .csv file, in order. Raises SuiteError with all that is wrong with it, by line."""
    data = _bytes(path).removeprefix(b"\xef\xbb\xbf")
    reader = {".jsonl": _json_lines, ".csv": _csv}.get(path.suffix.lower())
    if reader is None:
        raise SuiteError(f"{path} is neither JSON Lines (.jsonl) nor CSV (.csv)", fix=_instead(path.suffix.lower()))
    found = list(reader(str(path), data))
    refuse(f"{path} cannot be read", [each for each in found if isinstance(each, Defect)])
    rows = tuple(each for each in found if isinstance(each, Row))
    if not rows:
        raise SuiteError(f"{path} holds no question")
    return rows


def refuse(summary: str, defects: list[Defect]) -> None:
    """Raise SuiteError where there is a defect: with how many there are, and the first of them."""
    if defects:
        more = f" ({len(defects)} defects, the first {SHOWN} here)" if len(defects) > SHOWN else ""
        raise SuiteError(f"{summary}{more}", defects[:SHOWN])


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a file, one a line for every reader: some take U+2028 for the end of one."""
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return text.translate({ord(each): f"\\u{ord(each):04x}" for each in "\x85\u2028\u2029"}).encode()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SuiteError(f"{path} cannot be read: {error.strerror or error}") from error


def _instead(suffix: str) -> str:
    if suffix == ".json":
        return "One object a line: `jq -c '.[]' FILE.json > FILE.jsonl` makes that of a list."
    if suffix in (".txt", ".md"):
        return "Texts to train on go into --corpora DIR (forget.txt, retain.txt); the questions come from --from."
    return 'Save the table as CSV; or write one {"question", "choices", "answer"} a line into a .jsonl file.'


def _json_lines(name: str, data: bytes) -> Iterator[Row | Defect]:
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            value = loads(line)
        except ValueError as error:
            yield Defect(where=where, found=f"no JSON: {error}"[:160], expected="one object a line")
            continue
        if isinstance(value, dict):
            yield Row(where=where, values=value)
        else:
            yield Defect(where=where, found=f"a {type(value).__name__}", expected="an object a line")


def _csv(name: str, data: bytes) -> Iterator[Row | Defect]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield Defect(where=name, found=f"no UTF-8 at byte {error.start}", expected="UTF-8", fix="Save it as UTF-8 CSV.")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [each.strip() for each in next(reader, [])]
        choices = choice_columns(header)
        if faults := list(_header_faults(name, header)):
            yield from faults
            return
        begins = reader.line_num + 1
        for cells in reader:
            where, begins = f"{name}:{begins}", reader.line_num + 1
            if any(cell.strip() for cell in cells):
                yield _csv_row(where, header, choices, cells)
    except csv.Error as error:
        yield Defect(
            where=f"{name}:{reader.line_num}", found=f"no CSV: {error}", expected="quoted cells, closed quotes"
        )


def choice_columns(header: list[str]) -> list[str]:
    """The columns that hold choices, in order: choice_1, choice_2, ... or A, B, ..."""
    numbered = sorted((each for each in header if _NUMBERED.fullmatch(each)), key=lambda name: int(name[7:]))
    return numbered or [each for each in ascii_uppercase if each in header]


def _header_faults(name: str, header: list[str]) -> Iterator[Defect]:
    where = f"{name}:1"
    if "question" not in header:
        between = next((each for each in ";\t|" if each in "".join(header)), None)
        named = "Columns are question, answer, and choice_1, choice_2, ... or A, B, ..."
        fix = f"Its columns seem to be separated by {between!r}: save it with commas." if between else named
        yield Defect(
            where=where, found=f"the columns {', '.join(header)}"[:120], expected="a column `question`", fix=fix
        )
    filled = [each for each in header if each]
    if len(set(filled)) < len(filled):
        yield Defect(where=where, found="two columns of one name", expected="each once")
    choices = choice_columns(header)
    first = 0 if choices[:1] == ["choice_0"] else 1
    numbered = [f"choice_{number}" for number in range(first, first + len(choices))]
    if choices not in (numbered, list(ascii_uppercase[: len(choices)])):
        expected = "choice_1, choice_2, ... or A, B, ..., none left out"
        yield Defect(where=where, found=f"the choices {', '.join(choices)}", expected=expected)


def _csv_row(where: str, header: list[str], choices: list[str], cells: list[str]) -> Row | Defect:
    if len(cells) != len(header):
        found, expected = f"{len(cells)} cells", f"{len(header)}, as many as the header has"
        return Defect(where=where, found=found, expected=expected, fix="Quote a cell that holds a comma.")
    values: dict[str, Any] = dict(zip_longest(header, cells))
    labels: tuple[tuple[str, ...], ...] = ()
    if choices:
        values["choices"] = [values.pop(each) for each in choices]
        # A number names a column, so that nobody has to guess from where it counts.
        labels = tuple((ascii_uppercase[at], each, each.removeprefix("choice_")) for at, each in enumerate(choices))
    return Row(where=where, values={key: value for key, value in values.items() if key}, labels=labels)
