"""`--grid FILE`: which hyperparameters a comparison tries, by method.

    npo:
      lr: [1e-4, 3e-4]     # each with each of the others
      steps: 200           # one value for all

A method that the file does not name is run as the suite, or the method itself, would have it.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn_guard.errors import UsageError, near
from unlearn_guard.reading.strict_yaml import Document, parse

Settings = Mapping[str, str]
Grid = Mapping[str, tuple[Settings, ...]]


def read_grid(path: Path, methods: Sequence[str]) -> Grid:
    """Every combination by method, in the file's order. UsageError with each defect and its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a grid: {error}") from error
    document = parse(text, str(path))
    if not document.defects:
        grid = {name: _combinations(document, name) for name in _named(document, methods)}
    if document.defects:
        raise UsageError(f"{path} is not a grid of hyperparameters", document.defects)
    return grid


def _named(document: Document, methods: Sequence[str]) -> list[str]:
    if not isinstance(document.value, dict) or not document.value:
        document.refuse(1, "no methods", "METHOD: {HYPERPARAMETER: [VALUE, ...]}")
        return []
    for name in document.value:
        if name not in methods:
            line = document.lines.get((name,), 1)
            document.refuse(line, f"method {name!r}", "a method of this comparison", near(name, methods))
    return [name for name in document.value if name in methods]


def _combinations(document: Document, method: str) -> tuple[Settings, ...]:
    held = document.value[method]
    if not isinstance(held, dict) or not held:
        document.refuse(document.lines[method,], repr(held)[:60], "hyperparameters and their values")
        return ()
    choices = []
    for key, value in held.items():
        values = value if isinstance(value, list) else [value]
        texts = [_text(each) for each in values]
        if not texts or None in texts or len(set(texts)) < len(texts):
            document.refuse(document.lines[method, key], repr(value)[:60], "a value, or a list of different ones")
        choices.append([(key, str(text)) for text in texts])
    return tuple(dict(each) for each in itertools.product(*choices))


def _text(value: Any) -> str | None:
    """A value as `--set` would give it; None for what is no value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    return str(value) if isinstance(value, str | int | float) else None
