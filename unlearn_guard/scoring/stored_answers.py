"""A model's answers as they are stored: what it said, beside what was asked, and nothing that is counted from it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.api.instance import Instance

from unlearn_guard.errors import NonFiniteError
from unlearn_guard.scoring.answers import Answers, Nats, Written, assert_finite
from unlearn_guard.scoring.greedy import read_generation
from unlearn_guard.scoring.questions import Item
from unlearn_guard.scoring.tokens import Tokens


def to_json(items: Sequence[Item], answers: Answers) -> list[dict[str, Any]]:
    """The answers as JSON values, each beside what was asked. Minus infinity, which JSON cannot say, is a text."""
    return [
        {"id": item.id, "prompt": item.prompt, "target": item.target, "answers": [_held(each) for each in said]}
        for item, said in zip(items, answers, strict=True)
    ]


def from_json(held: Any, items: Sequence[Item], tokens: Tokens) -> Answers:
    """The answers to these items. Raises ValueError where they are to other items, or no answers to what is asked."""
    if not isinstance(held, list) or len(held) != len(items):
        raise ValueError(f"not a list of answers to {len(items)} items")
    scored = [r.args for item in items for r in item.requests if r.request_type == "loglikelihood"]
    lengths = iter([len(continuation) for _, continuation in tokens.pairs(scored)])
    return tuple(_answers(entry, item, tokens.tokenizer, lengths) for entry, item in zip(held, items, strict=True))


def _answers(entry: Any, item: Item, tokenizer: Any, lengths: Iterator[int]) -> tuple[Any, ...]:
    if not isinstance(entry, dict) or entry.keys() != {"id", "prompt", "target", "answers"}:
        raise ValueError(f"{item.id}: not an item's answers")
    for name in ("id", "prompt", "target"):
        if entry[name] != getattr(item, name):
            raise ValueError(f"{item.id}: {name} is {entry[name]!r}; asked was {getattr(item, name)!r}")
    said = entry["answers"]
    if not isinstance(said, list) or len(said) != len(item.requests):
        raise ValueError(f"{item.id}: not {len(item.requests)} answers")
    answers = tuple(_answer(*each, tokenizer, lengths) for each in zip(said, item.requests, strict=True))
    try:
        assert_finite(answers, item.id)
    except NonFiniteError as error:
        raise ValueError(str(error)) from error
    return answers


def _held(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"text": str(answer)}
    likelihood, greedy = answer if isinstance(answer, tuple) else (answer, None)
    tokens = [nats if math.isfinite(nats) else "-inf" for nats in likelihood.tokens]
    return {"tokens": tokens} if greedy is None else {"tokens": tokens, "greedy": bool(greedy)}


def _answer(held: Any, request: Instance, tokenizer: Any, lengths: Iterator[int]) -> Any:
    kind = request.request_type
    if kind == "generate_until":
        _assert_keys(held, {"text"}, isinstance(held, dict) and isinstance(held.get("text"), str))
        return Written.by(tokenizer, held["text"], length=read_generation(request.args[1]).length)
    keys = {"tokens"} if kind == "loglikelihood_rolling" else {"tokens", "greedy"}
    _assert_keys(held, keys, isinstance(held, dict) and isinstance(held.get("tokens"), list))
    likelihood = Nats.of(tuple(_nats(each) for each in held["tokens"]))
    if kind == "loglikelihood_rolling":
        return likelihood
    length = next(lengths)
    if not isinstance(held["greedy"], bool) or len(likelihood.tokens) != length:
        raise ValueError(f"no answer of {length} tokens")
    return likelihood, held["greedy"]


def _assert_keys(held: Any, keys: set[str], sound: bool) -> None:
    if not sound or held.keys() != keys:
        raise ValueError(f"{str(held)[:80]} is no answer: expected {', '.join(sorted(keys))}")


def _nats(held: Any) -> float:
    if held == "-inf":
        return -math.inf
    if not isinstance(held, float) or not math.isfinite(held):
        raise ValueError(f"{str(held)[:80]} is no log-likelihood")
    return held
