"""What a task is known by: sha256 over what is asked and over how answers are counted."""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn_guard.scoring.rendering import Item, Leaf, RenderedTask


def task_digest(metric: str, leaves: "Iterable[Leaf]") -> str:
    """Sha256 of everything that is asked and of how answers are counted, in order."""
    return sha256_of(
        [
            metric,
            [
                [
                    leaf.name,
                    leaf.filter,
                    _counting(leaf.task.config),
                    # The document too: a task may count an answer by fields that are neither asked nor the target.
                    [[item.id, item.prompt, item.target, _options(item), _document(item)] for item in leaf.items],
                ]
                for leaf in leaves
            ],
        ]
    )


def items_digest(task: "RenderedTask") -> str:
    """Sha256 of a task's questions and right answers, in order, whoever counts them and however."""
    return sha256_of([[item.id, item.prompt, item.target] for item in task.items])


def _options(item: "Item") -> list[Any]:
    return [[request.request_type, request.repeats] for request in item.requests]


def _document(item: "Item") -> str:
    return sha256_of(item.requests[0].doc)


def _counting(config: Any) -> Any:
    keys = ("metric_list", "filter_list", "process_results", "output_type", "repeats")
    return [[key, _plain(getattr(config, key, None))] for key in keys]


def _plain(value: Any) -> Any:
    """Values for hashing; a function is the text of the file that defines it, as it may call its neighbours."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if callable(value):
        source = inspect.getsourcefile(value) if inspect.isroutine(value) or inspect.isclass(value) else None
        text = Path(source).read_text(encoding="utf-8") if source and Path(source).is_file() else ""
        return [getattr(value, "__qualname__", type(value).__name__), text]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def sha256_of(value: Any) -> str:
    """Sha256 in hexadecimal of a value as JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
