"""Texts to train on: forget, retain and, where wanted, refused, each a .txt, .jsonl or .parquet file or a folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearn_guard.authoring.rows_file import Row, json_lines, read_rows, refuse
from unlearn_guard.errors import Defect, SuiteError

CORPORA = ("forget", "retain", "refused")
_ROW = '{"text"}, {"prompt" or "question", "answer"} or {"question", "choices", "answer"}'


def read_corpora(folder: Path) -> dict[str, bytes]:
    """The corpora of a folder as files to write, by their names. A text file is one text.

    Raises SuiteError where forget or retain is missing or stands in two places, and for every row that is no row of a
    corpus.
    """
    if not folder.is_dir():
        raise SuiteError(f"there is no folder {folder}", fix="It holds forget.txt and retain.txt, or .jsonl, .parquet.")
    found = {name: _places(folder, name) for name in CORPORA}
    defects = [
        Defect(where=str(folder), found=f"no {name} corpus", expected=f"{name}.txt, {name}.jsonl or {name}.parquet")
        for name in ("forget", "retain")
        if not found[name]
    ]
    defects += [
        Defect(where=str(folder), found=" and ".join(each.name for each in places), expected="one of them")
        for places in found.values()
        if len(places) > 1
    ]
    refuse("the corpora cannot be used", defects)
    return dict(_file(name, places[0]) for name, places in found.items() if places)


def _places(folder: Path, name: str) -> list[Path]:
    return [path for ending in (".txt", ".jsonl", ".parquet", "") if (path := folder / f"{name}{ending}").exists()]


def _file(name: str, place: Path) -> tuple[str, bytes]:
    if place.suffix == ".parquet":
        return f"{name}.parquet", place.read_bytes()
    files = [place] if place.is_file() else sorted(path for path in place.iterdir() if not path.name.startswith("."))
    strange = [path.name for path in files if path.suffix not in (".txt", ".jsonl")]
    if strange or not files:
        found = f"{strange[0]!r} in it" if strange else "nothing in it"
        raise SuiteError(f"{place} cannot be used: {found}", fix="A folder holds .txt and .jsonl files, and no others.")
    return f"{name}.jsonl", json_lines(row for path in files for row in _rows(path))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".jsonl":
        rows = read_rows(path)
        refuse(f"{path} is no corpus", [fault for row in rows if (fault := _fault(row)) is not None])
        yield from (dict(row.values) for row in rows)
        return
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path} cannot be read as UTF-8 text: {error}") from error
    if not text.strip():
        raise SuiteError(f"{path} holds no text")
    yield {"text": text}


def _fault(row: Row) -> Defect | None:
    """What `unlearn` could not even begin to read; it reads the rest with a tokenizer."""
    held = row.values
    answered = "answer" in held and {"prompt", "question"} & set(held)
    if not answered and not isinstance(held.get("text"), str):
        return Defect(where=row.where, found=f"the keys {', '.join(held)}"[:120], expected=_ROW)
    try:
        json_lines([dict(held)])
    except UnicodeEncodeError:
        return Defect(where=row.where, found="half of a character", expected="text")
    return None
