"""How a task wants text to be written, read without a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""lm-eval's names for the number of new tokens; the first that is given counts."""

DEFAULT_LENGTH = 256
"""New tokens where a task names no number: lm-eval's default."""

_SAMPLING = {"do_sample", "temperature", "top_p", "top_k", "min_p"}


@dataclass(frozen=True, slots=True)
class Generation:
    """How a task wants text to be written: always greedily, until a stop string or `length` new tokens."""

    until: tuple[str, ...]
    length: int


def read_generation(options: Mapping[str, Any]) -> Generation:
    """A task's `generation_kwargs`. Raises ValueError for what is not greedy: its answers could not be paired."""
    temperature = float(options.get("temperature") or 0.0)
    if options.get("do_sample") or (options.get("do_sample") is None and temperature > 0):
        raise ValueError("it samples (do_sample or a temperature); only greedy answers can be paired across precisions")
    unknown = sorted(set(options) - _SAMPLING - set(LENGTHS) - {"until"})
    if unknown:
        raise ValueError(f"generation options that are not supported: {', '.join(unknown)}")
    until = options.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    given = [options[name] for name in LENGTHS if options.get(name) is not None]
    return Generation(tuple(stop for stop in stops if stop), int(given[0]) if given else DEFAULT_LENGTH)
