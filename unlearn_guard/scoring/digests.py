"""What a task is known by: sha256 over what is asked and over how answers are counted."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from unlearn_guard.scoring.functions import plain
from unlearn_guard.scoring.questions import Item, Leaf, RenderedTask


def task_digest(metric: str, leaves: Iterable[Leaf], code: Sequence[tuple[str, str]]) -> str:
    """Sha256 of everything that is asked and of how answers are counted, in order.

    `code` are the names and digests of the Python files that the task's own may import. Raises ValueError for an
    object that answers are counted by and that cannot be told from another.
    """
    return sha256_of(
        [
            metric,
            code,
            [
                [
                    leaf.name,
                    leaf.filter,
                    _counting(leaf.task),
                    # The document too: a task may count an answer by fields that are neither asked nor the target.
                    [[item.id, item.prompt, item.target, _options(item), _document(item)] for item in leaf.items],
                ]
                for leaf in leaves
            ],
        ]
    )


def items_digest(task: RenderedTask) -> str:
    """Sha256 of a task's questions and right answers, in order, whoever counts them and however."""
    return sha256_of([[item.id, item.prompt, item.target] for item in task.items])


def _options(item: Item) -> list[Any]:
    return [[request.request_type, request.repeats] for request in item.requests]


def _document(item: Item) -> str:
    return sha256_of(item.requests[0].doc)


def _counting(task: Any) -> Any:
    keys = ("metric_list", "filter_list", "process_results", "output_type", "repeats", "doc_to_choice", "doc_to_target")
    # A task may be a class of its own, which counts in its own way.
    return [plain(type(task)), [[key, plain(getattr(task.config, key, None))] for key in keys]]


def sha256_of(value: Any) -> str:
    """Sha256 in hexadecimal of a value as JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
