"""JSON as a checkpoint may hold it: no duplicate keys, no NaN, bounded in size and depth.

Python's reader, and so transformers, lets the last of two equal keys win, takes NaN, turns 1e999 into
infinity, and ends in a bare RecursionError on deep nesting.
"""

import json
from pathlib import Path
from typing import Any

from unlearn_guard.intake.defects import refusal
from unlearn_guard.reading import strict_json
from unlearn_guard.reading.strict_json import NestedTooDeepError

MEBIBYTE = 2**20
DEPTH = 64
"""Levels of nesting; published configs and tokenizers stay under 12."""


def read_document(path: Path, *, at_most: int = 4 * MEBIBYTE) -> dict[str, Any]:
    """The object in a JSON file of at most `at_most` bytes. Raises CheckpointError naming file, line and reason."""
    return parse_object(read_bytes(path, at_most=at_most), path.name)


def read_bytes(path: Path, *, at_most: int) -> bytes:
    """All bytes of a small file, or CheckpointError where it is unreadable or larger than `at_most`."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(at_most + 1)
    except OSError as error:
        raise refusal(path.name, f"it cannot be read ({error.strerror})", "a readable file") from error
    if len(raw) > at_most:
        raise refusal(path.name, f"more than {at_most} bytes", f"at most {at_most}, far above any published model's")
    return raw


def parse_object(raw: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `raw`; `where` names it in messages."""
    value = parse(raw, where)
    if not isinstance(value, dict):
        raise refusal(where, f"a JSON {type(value).__name__}", "a JSON object ({...})")
    return value


def parse(raw: bytes, where: str) -> Any:
    """The JSON value in `raw`: UTF-8, unique keys, finite numbers, at most DEPTH levels."""
    if not raw.strip():
        raise refusal(where, "an empty file", "JSON", "Copy the file again from where the model was saved.")
    _refuse_other_encodings(raw, where)
    try:
        # Integers of any size: releases write 10^30 for "no limit".
        value = strict_json.loads(raw, whole=int)
    except NestedTooDeepError as error:
        raise _too_deep(where) from error
    except UnicodeDecodeError as error:
        raise refusal(where, f"bytes that are not UTF-8, at byte {error.start}", "JSON in UTF-8") from error
    except json.JSONDecodeError as error:
        found = f"broken JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        raise refusal(where, found, "JSON", "A copy that was cut short looks like this: copy it again.") from error
    except ValueError as error:
        raise refusal(where, str(error), "JSON with unique keys and finite numbers", "Mend the file.") from error
    if _depth(value) > DEPTH:
        raise _too_deep(where)
    return value


def _refuse_other_encodings(raw: bytes, where: str) -> None:
    """UTF-8 without a byte order mark is all that transformers reads; Windows' editors like to add one."""
    encoding = json.detect_encoding(raw)
    if encoding == "utf-8-sig":
        found, fix = "a UTF-8 byte order mark (BOM) at its start", rf"Strip it: `sed -i '1s/^\xEF\xBB\xBF//' {where}`."
    elif encoding != "utf-8":
        name = encoding.upper()
        found, fix = f"bytes in {name}", f"Write it again: `iconv -f {name} -t UTF-8 {where} > utf8.json`."
    else:
        return
    raise refusal(where, found, "JSON in UTF-8 without a byte order mark: transformers loads no other", fix)


def _too_deep(where: str) -> Exception:
    return refusal(where, f"more than {DEPTH} levels of nesting", f"at most {DEPTH}; published files stay under 12")


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= DEPTH:
        containers = [each for each in level if isinstance(each, dict | list)]
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
        depth += 1 if containers else 0
    return depth
