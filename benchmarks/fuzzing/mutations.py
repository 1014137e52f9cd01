"""One change to a document or to bytes, drawn from a seeded generator."""

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from benchmarks.fuzzing.words import NASTY

Way = list[Any]


class Words:
    """What keys and values a document may be given."""

    def __init__(
        self, keys: Sequence[str], suspicious: Sequence[str] = (), values: Sequence[object] = (), known: Any = None
    ) -> None:
        self.keys, self.suspicious, self.values, self.known = keys, suspicious, values, known or {}

    def key(self, rng: Random) -> str:
        if self.suspicious and rng.random() < 0.15:
            return rng.choice(self.suspicious)
        return rng.choice(self.keys) if rng.random() < 0.95 else str(rng.choice(NASTY))

    def value(self, rng: Random, key: Any = None, now: Any = None) -> Any:
        roll = rng.random()
        if roll < 0.35 and self.known.get(key):
            return copy.deepcopy(rng.choice(self.known[key]))
        if roll < 0.55 and isinstance(now, int | float) and not isinstance(now, bool):
            return _near(rng, now)
        if roll < 0.8 and self.values:
            return copy.deepcopy(rng.choice(self.values))
        return copy.deepcopy(rng.choice(NASTY))


def _near(rng: Random, now: int | float) -> Any:
    steps = (
        now + 1,
        now - 1,
        now * 2,
        -now,
        float(now) if abs(now) < 2**60 else 0.5,
        str(now),
        [now],
        now * (1 + 2**-20) if abs(now) < 2**60 else now,
    )
    return rng.choice(steps)


def document(rng: Random, raw: bytes, words: Words) -> bytes:
    """The JSON in `raw` with one change: of its meaning, of its spelling, or of its bytes."""
    roll = rng.random()
    if roll < 0.08:
        return damaged(rng, raw)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return damaged(rng, raw)
    if roll < 0.84:
        value = _edited(rng, value, words)
        return json.dumps(value, indent=rng.choice((None, None, 2)), ensure_ascii=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    return _respelt(rng, value, words)


def _edited(rng: Random, value: Any, words: Words) -> Any:
    value = copy.deepcopy(value)
    place = _place(rng, value)
    if not place or rng.random() < 0.03:
        if isinstance(value, dict):
            key = words.key(rng)
            return {**value, key: words.value(rng, key)}
        return words.value(rng)
    parent = value
    for step in place[:-1]:
        parent = parent[step]
    _change(rng, parent, place[-1], words)
    return value


def _change(rng: Random, parent: Any, step: Any, words: Words) -> None:
    now, kind = parent[step], rng.randrange(7)
    if kind <= 1:
        parent[step] = words.value(rng, step, now)
    elif kind == 2:
        del parent[step]
    elif kind == 3 and isinstance(parent, dict):
        parent[words.key(rng)] = parent.pop(step)
    elif kind == 4 and isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(now))
    elif kind == 5:
        parent[step] = rng.choice(([now], {str(step): now}, str(now), None, copy.deepcopy(parent)))
    elif isinstance(parent, dict):
        key = words.key(rng)
        parent[key] = words.value(rng, key)
    elif len(parent) > 1:
        other = rng.randrange(len(parent))
        parent[step], parent[other] = parent[other], parent[step]


def _place(rng: Random, value: Any) -> Way:
    """The way to a member, each level left with the same chance, so that a long vocabulary does not draw it all."""
    place: Way = []
    while isinstance(value, dict | list) and value:
        step = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        place.append(step)
        value = value[step]
        if rng.random() < 0.4:
            break
    return place


def _respelt(rng: Random, value: Any, words: Words) -> bytes:
    """The same meaning, or nearly, in a spelling that some reader takes otherwise."""
    text = json.dumps(value)
    key = words.key(rng)
    choices = (
        lambda: text.replace("{", "{" + json.dumps(key) + ": " + json.dumps(words.value(rng, key)) + ", ", 1),
        lambda: _doubled(rng, value, words),
        lambda: "\ufeff" + text,
        lambda: text + rng.choice((" ", "\n\n", "\x00", "{}", "]", "// x", text)),
        lambda: text.replace(
            ":", ": " + rng.choice(("NaN", "Infinity", "-Infinity", "1e999", "01", "1.", "'x'")) + ",", 1
        ),
        lambda: "[" * (n := rng.choice((70, 1000, 100_000))) + "]" * n,
        lambda: text.replace("{", '{"x": ' + '{"a":' * (n := rng.choice((62, 70, 100_000))) + "1" + "}" * n + ",", 1),
        lambda: json.dumps([value]),
        lambda: text.replace('"', "'"),
        lambda: text.replace("e", "\\u0065"),
        lambda: text.replace("true", "1").replace("false", "0"),
        lambda: rng.choice(("", " ", "null", "5", '"x"', "[]", "{}", "1" * 5000, '"' + "a" * 10**6 + '"')),
    )
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "latin-1"))
    return rng.choice(choices)().encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")


def _doubled(rng: Random, value: Any, words: Words) -> str:
    """One key of the top twice, with another value the second time."""
    text = json.dumps(value)
    if not isinstance(value, dict) or not value:
        return text
    key = rng.choice(list(value))
    return text[:-1] + ", " + json.dumps(key) + ": " + json.dumps(words.value(rng, key, value[key])) + "}"


def damaged(rng: Random, raw: bytes) -> bytes:
    """Bytes changed, lost, doubled or added."""
    if not raw:
        return bytes([rng.randrange(256)])
    at, to = sorted((rng.randrange(len(raw) + 1), rng.randrange(len(raw) + 1)))
    kind = rng.randrange(8)
    if kind == 0:
        return raw[:at]
    if kind == 1:
        return raw + rng.choice((b"\0", b" ", b"x" * 9, raw[at:to]))
    if kind == 2:
        return raw[:at] + raw[to:]
    if kind == 3:
        return raw[:to] + raw[at:]
    if kind == 4:
        return rng.choice((b"", b"\0" * len(raw), b"\xff\xfe", b"\xef\xbb\xbf" + raw))
    piece = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 3))):
        where = rng.randrange(len(piece))
        piece[where] = rng.choice((rng.randrange(256), piece[where] ^ (1 << rng.randrange(8)), 0, 255, 34, 123))
    return bytes(piece)
