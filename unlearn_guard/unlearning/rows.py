"""The rows of a corpus, from JSON Lines, parquet or the hub."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearn_guard.errors import SuiteError
from unlearn_guard.records import Source

FORMS = '{"text"}, {"prompt" or "question", "answer"} or {"question", "choices", "answer"}'
"""What a row may be, for messages."""


def folder_sources(folder: Path) -> dict[str, tuple[Source, ...]]:
    """The corpora of a folder: NAME.jsonl, NAME.parquet or a folder NAME, for forget, retain and refused.

    Raises SuiteError that says what to put there where forget or retain is missing.
    """
    found: dict[str, tuple[Source, ...]] = {}
    for name in ("forget", "retain", "refused"):
        places = [folder / f"{name}{ending}" for ending in (".jsonl", ".parquet", "")]
        found[name] = tuple(Source(path=place) for place in places if place.exists())
    missing = [name for name in ("forget", "retain") if not found[name]]
    if missing:
        raise SuiteError(
            f"{folder} has no {' and no '.join(missing)} corpus",
            fix=f"Put {missing[0]}.jsonl or {missing[0]}.parquet there, each row one of {FORMS}.",
        )
    return found


def rows_of(source: Source) -> Iterator[tuple[str, Any]]:
    """Where each row of a source stands, and the row, unchecked; None for a line that is no JSON. Raises SuiteError."""
    if source.path is None:
        yield from _hub_rows(source)
        return
    files = (
        [source.path]
        if source.path.is_file()
        else sorted(source.path.glob("*.jsonl")) + sorted(source.path.glob("*.parquet"))
    )
    if not files:
        raise SuiteError(
            f"there is no corpus at {source.path}", fix=f"Put JSON Lines or parquet there, each row one of {FORMS}."
        )
    for file in files:
        yield from _parquet(file) if file.suffix == ".parquet" else _json_lines(file)


def _json_lines(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"the corpus {file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"{file.name}:{number}", json.loads(line)
            except (ValueError, RecursionError):
                yield f"{file.name}:{number}", None


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows = read_table(file).to_pylist()
    except (OSError, ArrowException) as error:
        raise SuiteError(f"the corpus {file} cannot be read: {error}") from error
    yield from ((f"{file.name}, row {number}", row) for number, row in enumerate(rows))


def _hub_rows(source: Source) -> Iterator[tuple[str, Any]]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    try:
        rows = load_dataset(source.dataset, source.config, split=source.split, revision=source.revision)
    except (OSError, ValueError, DatasetNotFoundError, DatasetGenerationError) as error:
        raise SuiteError(
            f"the corpus {source} cannot be had: {error}",
            fix="Go online, accept its licence on the hub where it has one (`hf auth login`), or give the same rows "
            "with --corpora DIR (forget.jsonl, retain.jsonl).",
        ) from error
    yield from ((f"{source}, row {number}", row) for number, row in enumerate(rows))
