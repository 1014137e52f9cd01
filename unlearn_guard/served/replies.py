"""What completions and chats answer, in the several forms that servers have for the same thing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn_guard.errors import MeasurementError

_NOTHING = -1e30
"""What programs write for the logarithm of zero lies below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that stands or could stand somewhere, its log-probability in nats, and its id where a server says it.

    `nats` is None of a prompt's first token, which nothing foretells.
    """

    text: str
    nats: float | None
    id: int | None = None
    likeliest: tuple["Token", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """`tokens` are those that log-probabilities were told of: what was written, after the prompt where it is echoed.

    `prompt_tokens` is how many the server counts in the prompt, where it says so.
    """

    text: str
    tokens: tuple[Token, ...]
    prompt_tokens: int | None


def read(answer: Mapping[str, Any]) -> Reply:
    """The first choice of an answer. Raises MeasurementError for what is no answer."""
    try:
        choice = answer["choices"][0]
        message = choice.get("message")
        text = choice["text"] if message is None else message.get("content")
        told = choice.get("logprobs") or {}
        tokens = _listed(told["content"]) if told.get("content") is not None else _legacy(told)
        counted = (answer.get("usage") or {}).get("prompt_tokens")
        return Reply(
            text=text if isinstance(text, str) else "",
            tokens=tokens,
            prompt_tokens=counted if type(counted) is int else None,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise MeasurementError(f"the endpoint's answer is not one of this API: {type(error).__name__}") from error


def _listed(content: Sequence[Mapping[str, Any]]) -> tuple[Token, ...]:
    """Chat's form, which llama.cpp also gives for completions: a list of tokens, each with the likeliest there."""
    return tuple(
        Token(
            text=each["token"],
            nats=_nats(each["logprob"]),
            id=each.get("id"),
            likeliest=tuple(
                Token(text=other["token"], nats=_nats(other["logprob"]), id=other.get("id"))
                for other in each.get("top_logprobs") or ()
            ),
        )
        for each in content
    )


def _legacy(told: Mapping[str, Any]) -> tuple[Token, ...]:
    """Completions' form: parallel lists, and of each place a mapping of the likeliest."""
    texts, nats = told.get("tokens") or (), told.get("token_logprobs") or ()
    tops = told.get("top_logprobs") or [None] * len(texts)
    return tuple(
        Token(
            text=text,
            nats=None if value is None else _nats(value),
            likeliest=tuple(Token(text=other, nats=_nats(its)) for other, its in (top or {}).items()),
        )
        for text, value, top in zip(texts, nats, tops, strict=True)
    )


def _nats(value: Any) -> float:
    """Raises ValueError for what is no log-probability: a NaN is never an answer."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > _SLACK:
        raise ValueError("no log-probability")
    return -math.inf if value < _NOTHING else float(value)


_SLACK = 1e-3
"""How far rounding puts the logarithm of a probability above zero."""
