"""Task definitions as others write them: YAML with aliases and tags, no duplicate key, and every line number kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from unlearn_guard.errors import Defect, SuiteError

LARGEST = 1 << 20
"""Bytes; a suite or a task definition is a page of text, and anything larger is something else."""

DEEPEST = 32
"""Levels of lists and mappings inside each other."""


def read_mapping(path: Path) -> CommentedMap:
    """The mapping a YAML file holds, with line numbers. Raises SuiteError that names file and line.

    YAML 1.2: `no` is a word and `1e-3` a number.
    """
    text = text_of(path)
    try:
        _check_depth(path, text)
        content = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        raise _broken(path, error, "a key that stands twice", "each key once") from error
    except YAMLError as error:
        raise _broken(path, error, "text that is not YAML", "a YAML mapping") from error
    except ValueError as error:  # an integer of more digits than Python reads, a date that is none
        raise SuiteError(
            f"{path} cannot be read",
            [Defect(where=str(path), found=str(error)[:80], expected="values that can be read")],
        ) from error
    if not isinstance(content, CommentedMap):
        found = "an empty file" if content is None else f"a {type(content).__name__}"
        raise SuiteError(
            f"{path} does not hold a mapping", [Defect(where=str(path), found=found, expected="`key: value`")]
        )
    return content


def line_of(content: Any, location: Sequence[str | int]) -> int | None:
    """The line, from 1, of the value at this path of keys and indices, or of its nearest parent in the file."""
    line: int | None = None
    for key in location:
        marks = getattr(content, "lc", None)
        if marks is None or marks.data is None or key not in marks.data:
            break
        line = marks.data[key][0] + 1
        content = content[key]
    return line


def text_of(path: Path) -> str:
    """The text of a suite or a task definition. Raises SuiteError where it is none, or no page of it."""
    try:
        if path.stat().st_size > LARGEST:
            raise SuiteError(f"{path} is larger than {LARGEST} bytes, which no suite or task definition is")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise SuiteError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_depth(path: Path, text: str) -> None:
    """Refuse what no reader survives, before anything is built from it."""
    depth = 0
    for event in YAML(typ="rt", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            where = f"{path}:{event.start_mark.line + 1}"
            defect = Defect(where=where, found=f"more than {DEEPEST} levels", expected="a page of text")
            raise SuiteError(f"{where}: values nested too deep", [defect])


def _broken(path: Path, error: YAMLError, found: str, expected: str) -> SuiteError:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    where = str(path) if mark is None else f"{path}:{mark.line + 1}"
    detail = error.problem if isinstance(error, MarkedYAMLError) and error.problem else str(error).splitlines()[0]
    return SuiteError(f"{where} cannot be read: {detail}", [Defect(where=where, found=found, expected=expected)])
