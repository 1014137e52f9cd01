"""JSON as this package writes and reads it: finite numbers, each key once, the same bytes for the same value."""

import json
import math
from collections import Counter
from collections.abc import Callable
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


class NestedTooDeepError(ValueError):
    """More levels than Python's reader goes into."""


def loads(data: bytes, *, whole: Callable[[str], int] | None = None) -> Any:
    """The value in UTF-8 bytes. Raises ValueError for duplicate keys, NaN, infinities (1e999 too) and deep nesting.

    An integer of more than 64 bits is refused too, unless `whole` reads it: no count is that large, and no float may
    be had of it.
    """
    decoder = _DECODER if whole is None else _decoder(whole)
    try:
        return decoder.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise NestedTooDeepError("nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:60]!r} twice in one object (which of them counts is anybody's guess)")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"the number {constant}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]!r}, which is infinite as a double")
    return number


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _DIGITS:
        raise ValueError(f"{text[:40]}... is too large for a number")
    return int(text)


def _decoder(whole: Callable[[str], int]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite, parse_int=whole)


_DIGITS = 19

# Made once: a run directory is read line by line, and making a decoder takes longer than a line.
_DECODER = _decoder(_whole)
