"""Answers item by item, one JSON line each: `samples/<task>.<precision>.<base|candidate>.jsonl`.

A log-likelihood of minus infinity, which JSON cannot say, is written as the text "-inf".
"""

import json
import math
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from unlearn_guard.reading import strict_json
from unlearn_guard.records import Sample

FOLDER = "samples"


def file_name(task: str, precision: str, side: str) -> str:
    """The file of one score, relative to the run directory; what a file name cannot hold is percent-encoded."""
    return f"{FOLDER}/{quote(task, safe='')}.{quote(precision, safe='')}.{side}.jsonl"


def to_lines(samples: Iterable[Sample]) -> bytes:
    """One line an item, in the order asked."""
    return b"".join(json.dumps(to_json(sample), allow_nan=False).encode() + b"\n" for sample in samples)


def from_lines(data: bytes) -> tuple[Sample, ...]:
    """The items of a file. Raises ValueError naming the line."""
    found = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            found.append(from_json(strict_json.loads(line)))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return tuple(found)


def to_json(sample: Sample) -> dict[str, Any]:
    """The item as JSON values; only one of loglikelihoods and text is there, unless the item has both."""
    entry: dict[str, Any] = {"id": sample.id, "prompt": sample.prompt, "target": sample.target}
    if sample.loglikelihoods is not None:
        entry["loglikelihoods"] = [value if math.isfinite(value) else "-inf" for value in sample.loglikelihoods]
    if sample.text is not None:
        entry["text"] = sample.text
    return {**entry, "correct": sample.correct}


def from_json(entry: Any) -> Sample:
    """The item. Raises ValueError for a missing, mistyped or impossible field; unknown keys are left alone."""
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    for key in ("id", "prompt", "target"):
        if not isinstance(entry.get(key), str):
            raise ValueError(f"{key}: {entry.get(key)!r} is not text")
    text, nats = entry.get("text"), entry.get("loglikelihoods")
    if text is not None and not isinstance(text, str):
        raise ValueError(f"text: {text!r} is not text")
    if nats is not None and not isinstance(nats, list):
        raise ValueError("loglikelihoods: not a list")
    return Sample(
        id=entry["id"],
        prompt=entry["prompt"],
        target=entry["target"],
        correct=_number(entry.get("correct"), "correct"),
        # Runs have tens of thousands of these numbers; a call for each took as long as reading the JSON.
        loglikelihoods=None if nats is None else tuple([x if type(x) is float else _nats(x) for x in nats]),
        text=text,
    )


def _nats(value: Any) -> float:
    return -math.inf if value == "-inf" else _number(value, "loglikelihoods")


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key}: {value!r} is not a number")
    return float(value)
