"""JSON as this package writes and reads it: finite numbers, each key once, the same bytes for the same value."""

import json
import math
from hashlib import sha256
from typing import Any


def canonical(value: Any) -> bytes:
    """The one encoding of a value: sorted keys, no spaces, ASCII.

    Raises ValueError or TypeError for what JSON lacks.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def pretty(value: Any) -> bytes:
    """For people and diffs: keys in the order given, two spaces, a final newline."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def digest(data: bytes) -> str:
    """`sha256:` and the hexadecimal digest."""
    return f"sha256:{sha256(data).hexdigest()}"


def loads(data: bytes) -> Any:
    """The value. Raises ValueError for duplicate keys, NaN, numbers beyond 64 bits, bad UTF-8 and deep nesting."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} twice in one object")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} where a finite number should be")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _whole(text: str) -> int:
    # More than 64 bits: no count is that large, and a float of it may not exist.
    if len(text.lstrip("-")) > _DIGITS:
        raise ValueError(f"{text[:40]}... is too large for a number")
    return int(text)


_DIGITS = 19


# Made once: a run directory is read line by line, and making a decoder takes longer than a line.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
