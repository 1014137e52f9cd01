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


def from_json(held: Any, items: Sequence[Item], tokens: Tokens, each_token: Sequence[bool] = ()) -> Answers:
    """The answers to these items. Raises ValueError where they are to other items, or no answers to what is asked.

    `each_token` says of which items an answer knows more of each token than its likelihood; none where it is empty.
    """
    if not isinstance(held, list) or len(held) != len(items):
        raise ValueError(f"not a list of answers to {len(items)} items")
    scored = [r.args for item in items for r in item.requests if r.request_type == "loglikelihood"]
    lengths = iter([len(continuation) for _, continuation in tokens.pairs(scored)])
    more = each_token or [False] * len(items)
    return tuple(
        _answers(entry, item, tokens.tokenizer, lengths, each)
        for entry, item, each in zip(held, items, more, strict=True)
    )


def _answers(entry: Any, item: Item, tokenizer: Any, lengths: Iterator[int], each_token: bool) -> tuple[Any, ...]:
    if not isinstance(entry, dict) or entry.keys() != {"id", "prompt", "target", "answers"}:
        raise ValueError(f"{item.id}: not an item's answers")
    for name in ("id", "prompt", "target"):
        if entry[name] != getattr(item, name):
            raise ValueError(f"{item.id}: {name} is {entry[name]!r}; asked was {getattr(item, name)!r}")
    said = entry["answers"]
    if not isinstance(said, list) or len(said) != len(item.requests):
        raise ValueError(f"{item.id}: not {len(item.requests)} answers")
    answers = tuple(_answer(*each, tokenizer, lengths, each_token) for each in zip(said, item.requests, strict=True))
    try:
        assert_finite(answers, item.id)
    except NonFiniteError as error:
        raise ValueError(str(error)) from error
    return answers


def _held(answer: Any) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"text": str(answer)}
    likelihood, greedy = answer if isinstance(answer, tuple) else (answer, None)
    entry: dict[str, Any] = {"tokens": _written(likelihood.tokens)}
    if likelihood.likeliest is not None and likelihood.standard is not None:
        entry |= {"likeliest": list(likelihood.likeliest), "standard": _written(likelihood.standard)}
    return entry if greedy is None else {**entry, "greedy": bool(greedy)}


def _written(numbers: Sequence[float]) -> list[float | str]:
    return [number if math.isfinite(number) else "-inf" for number in numbers]


def _answer(held: Any, request: Instance, tokenizer: Any, lengths: Iterator[int], each_token: bool) -> Any:
    kind = request.request_type
    if kind == "generate_until":
        _assert_keys(held, {"text"}, isinstance(held, dict) and isinstance(held.get("text"), str))
        return Written.by(tokenizer, held["text"], length=read_generation(request.args[1]).length)
    keys = {"tokens", *(["likeliest", "standard"] if each_token else [])}
    keys |= set() if kind == "loglikelihood_rolling" else {"greedy"}
    _assert_keys(held, keys, isinstance(held, dict) and isinstance(held.get("tokens"), list))
    likelihood = Nats.of(tuple(_nats(each) for each in held["tokens"]), *(_of_each(held) if each_token else ()))
    if kind == "loglikelihood_rolling":
        return likelihood
    length = next(lengths)
    if not isinstance(held["greedy"], bool) or len(likelihood.tokens) != length:
        raise ValueError(f"no answer of {length} tokens")
    return likelihood, held["greedy"]


def _of_each(held: Any) -> tuple[tuple[bool, ...], tuple[float, ...]]:
    """What is known of each token beside its likelihood. Raises ValueError where that is not one of each a token."""
    likeliest, standard = held["likeliest"], held["standard"]
    if not all(isinstance(each, list) and len(each) == len(held["tokens"]) for each in (likeliest, standard)):
        raise ValueError(f"not one of each for {len(held['tokens'])} tokens")
    if not all(isinstance(each, bool) for each in likeliest):
        raise ValueError("a token that is neither the likeliest nor not")
    return tuple(likeliest), tuple(_nats(each) for each in standard)


def _assert_keys(held: Any, keys: set[str], sound: bool) -> None:
    if not sound or held.keys() != keys:
        raise ValueError(f"{str(held)[:80]} is no answer: expected {', '.join(sorted(keys))}")


def _nats(held: Any) -> float:
    if held == "-inf":
        return -math.inf
    if not isinstance(held, float) or not math.isfinite(held):
        raise ValueError(f"{str(held)[:80]} is no log-likelihood")
    return held
