"""An OpenAI-compatible endpoint: completions, chats, the models that it names, and what it can be asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn_guard.errors import MeasurementError, UsageError, near
from unlearn_guard.served.replies import Reply, Token, read
from unlearn_guard.served.transport import RefusedError, Transport

MOST_LIKELIEST = (20, 5)
"""How many of the likeliest tokens are asked for: what chats and vLLM allow, and what OpenAI's completions do."""

BIAS = 100
"""What makes a model take a token, in logits: the most that the API allows."""

_SAME = 0.3
"""Nats by which a forced token's log-probability may differ from the one listed: it is none of the biased logits'."""

Prompt = str | Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What an endpoint tells: so many of the likeliest tokens, a prompt's own tokens, a token that it is forced to."""

    likeliest: int = 0
    echo: bool = False
    forced: bool = False


class Endpoint:
    """Asks one model, greedily and for as few tokens as will do."""

    def __init__(self, transport: Transport, model: str) -> None:
        self._transport, self.model = transport, model

    def complete(self, prompt: Prompt, *, length: int = 1, **more: Any) -> Reply:
        """How the model goes on from a text or from token ids."""
        asked = prompt if isinstance(prompt, str) else list(prompt)
        body = {"model": self.model, "prompt": asked, "max_tokens": length, "temperature": 0, **more}
        return read(self._transport.post("/completions", body))

    def chat(self, messages: Sequence[Mapping[str, Any]], *, length: int = 1, **more: Any) -> Reply:
        """How the model answers a conversation, through the server's own template."""
        body = {"model": self.model, "messages": list(messages), "max_tokens": length, "temperature": 0, **more}
        return read(self._transport.post("/chat/completions", body))

    def forced(self, prompt: Prompt, token: int, text: str) -> float | None:
        """Log-probability in nats of one token after the prompt; None where the endpoint takes another."""
        reply = self.complete(prompt, logprobs=1, logit_bias={str(token): BIAS})
        if not reply.tokens:
            return None
        first = reply.tokens[0]
        return first.nats if is_token(first, token, text) else None

    def echoed(self, prompt: Prompt, text: str, ids: Sequence[int]) -> float | None:
        """Log-probability in nats of a continuation after its prompt, from the echo of both; None without one.

        The last of the echoed tokens must spell the continuation: a tokenizer that splits it otherwise is no answer.
        """
        whole = prompt + text if isinstance(prompt, str) else [*prompt, *ids]
        reply = self.complete(whole, logprobs=1, echo=True)
        own = reply.tokens[:-1]  # the one that was written comes last
        last = own[len(own) - len(ids) :]
        values = [each.nats for each in last if each.nats is not None]
        spelt = "".join(each.text for each in last).strip() == text.strip()
        if len(own) <= len(ids) or len(values) != len(ids) or not spelt:
            return None
        return math.fsum(values)


def is_token(found: Token, token: int, text: str) -> bool:
    """Whether a token is the one meant: by id where the server says ids, else by its text."""
    return found.id == token if found.id is not None else found.text.strip() == text.strip()


def model_of(transport: Transport, wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """The model's name, and what is to be said of it: the one wanted, or the only one that is listed."""
    try:
        listed = transport.get("/models").get("data") or []
        names = [str(each["id"]) for each in listed]
    except (MeasurementError, KeyError, TypeError):
        if wanted is None:
            raise
        names = []  # not every server has a list
    if wanted is None:
        if len(names) == 1:
            return names[0], ()
        raise UsageError(
            f"the endpoint lists {len(names)} models, so nobody knows which is meant: {', '.join(names[:12])}",
            fix="Name it: --model NAME.",
        )
    if names and wanted not in names:
        hint = near(wanted, names)
        return wanted, (f"the endpoint does not list the model {wanted!r}, which it may serve all the same. {hint}",)
    return wanted, ()


def completions_can(endpoint: Endpoint, prompt: Prompt, known: Sequence[tuple[int, str]]) -> Abilities:
    """What completions tell, found by asking. `known` are ids and texts of tokens that may follow the prompt.

    Raises UsageError where the endpoint takes no completion at all.
    """
    reply, count = None, 0
    for count in (*MOST_LIKELIEST, 0):
        try:
            reply = endpoint.complete(prompt, **({"logprobs": count} if count else {}))
        except RefusedError as error:
            if not count:
                raise _none("completions", error) from error
            continue
        if reply.tokens or not count:
            break
    if reply is None or not reply.tokens:
        return Abilities()
    return Abilities(
        likeliest=count if reply.tokens[0].likeliest else 0,
        echo=_can_echo(endpoint, prompt),
        forced=_can_force(endpoint, prompt, reply, known),
    )


def chat_can(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]]) -> Abilities:
    """The same of chats, which have neither echo nor a way to go on inside an answer."""
    for count in MOST_LIKELIEST:
        try:
            reply = endpoint.chat(messages, logprobs=True, top_logprobs=count)
        except RefusedError:
            continue
        return Abilities(likeliest=count if reply.tokens and reply.tokens[0].likeliest else 0)
    try:
        endpoint.chat(messages)
    except RefusedError as error:
        raise _none("chat completions", error) from error
    return Abilities()


def _can_echo(endpoint: Endpoint, prompt: Prompt) -> bool:
    try:
        reply = endpoint.complete(prompt, logprobs=1, echo=True)
    except (RefusedError, MeasurementError):
        return False
    return len(reply.tokens) > 2 and all(each.nats is not None for each in reply.tokens[1:])


def _can_force(endpoint: Endpoint, prompt: Prompt, seen: Reply, known: Sequence[tuple[int, str]]) -> bool:
    """Whether a token that is not the likeliest can be made to come, and is told with the probability it had."""
    likeliest = seen.tokens[0].likeliest
    candidates = [(each.id, each.text, each.nats) for each in likeliest[1:] if each.id is not None]
    for token, text in known:
        candidates += [(token, text, each.nats) for each in likeliest[1:] if is_token(each, token, text)]
    for token, text, nats in candidates[:1]:
        try:
            found = endpoint.forced(prompt, token if token is not None else -1, text)
        except (RefusedError, MeasurementError):
            return False
        return found is not None and nats is not None and abs(found - nats) < _SAME
    return False


def _none(what: str, error: RefusedError) -> UsageError:
    return UsageError(str(error), fix=f"Does this endpoint take {what}, and serve a model of this name (--model)?")
