"""Which choice of an item does an endpoint hold for the likeliest? In the first of these ways that it has.

- `likeliest`: one look at the likeliest tokens that may follow, where each choice is one token. A choice that is not
  among them is less likely than all that are.
- `echo`: each choice after its prompt, echoed with the log-probability of each token.
- `forced`: each choice token by token, the next one forced by a bias on the logits that its own log-probability does
  not show.
- `letters`: what the model writes, where each choice is one token and no log-probability is told.

An item that was put into a chat template is asked as a conversation, so that the server's own template and system
prompt are what answers; there only the first token of an answer is known.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unlearn_guard.served.choices import Choice, Question
from unlearn_guard.served.endpoint import Abilities, Endpoint, Prompt, chat_can, completions_can
from unlearn_guard.served.replies import Reply

LIKELIEST, ECHO, FORCED, LETTERS, CHAT = "likeliest tokens", "echo", "forced tokens", "written letters", "chat"

NOT_COMPARED = "not comparable"

_TRIED = 5
"""Questions on which an ability is looked for: one may be answered by a token that says nothing of itself."""

_ROOM = 4
"""Tokens that a written letter may take with a space, a bracket or a star before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The place of the choice that was taken, or None; the way; and how the server counted the prompt's tokens."""

    task: str
    item: str
    digest: str
    picked: int | None
    way: str
    prompt_tokens: int | None = None
    expected_tokens: int | None = None


@dataclass(kw_only=True)
class Asking:
    """Asks questions in the ways that were found. `by_ids` gives prompts of completions as token ids."""

    endpoint: Endpoint
    by_ids: bool
    completions: Abilities = field(default_factory=Abilities)
    chats: Abilities = field(default_factory=Abilities)

    def look(self, questions: Sequence[Question]) -> None:
        """Find out what the endpoint can do, on a few of the questions. Raises UsageError where it can do nothing."""
        plain = [each for each in questions if not each.templated]
        chats = [each for each in questions if each.messages is not None]
        for question in plain[:_TRIED]:
            first = question.choices[0]
            known = [(each.ids[0], each.text) for each in question.choices] if question.one_token else []
            self.completions = completions_can(self.endpoint, self._prompt(first), known)
            if self.completions != Abilities() and (self.completions.forced or self.completions.echo):
                break
        for question in chats[:_TRIED]:
            self.chats = chat_can(self.endpoint, question.messages or ())
            if self.chats.likeliest:
                break

    def ask(self, question: Question) -> Answer:
        """The choice that the endpoint takes. Raises as the transport does."""
        if question.templated:
            return self._by_chat(question)
        if question.one_token:
            answer = self._by_one_token(question)
            if answer is not None:
                return answer
        if self.completions.echo or self.completions.forced:
            return self._by_each(question)
        return _answer(question, None, NOT_COMPARED)

    def _by_one_token(self, question: Question) -> Answer | None:
        prompt = self._prompt(question.choices[0])
        if not self.completions.likeliest:
            if self.completions != Abilities():
                return None
            reply = self.endpoint.complete(prompt, length=_ROOM)
            return _answer(question, written(reply.text, question.choices), LETTERS, reply)
        reply = self.endpoint.complete(prompt, logprobs=self.completions.likeliest)
        picked = likeliest(reply, question.choices)
        if picked is None and (self.completions.echo or self.completions.forced):
            return None
        return _answer(question, picked, LIKELIEST, reply)

    def _by_each(self, question: Question) -> Answer:
        nats = [self._nats(choice) for choice in question.choices]
        known = [each for each in nats if each is not None]
        if len(known) < len(nats) or all(each == -math.inf for each in known):
            return _answer(question, None, NOT_COMPARED)
        way = ECHO if self.completions.echo else FORCED
        return _answer(question, known.index(max(known)), way)

    def _nats(self, choice: Choice) -> float | None:
        if self.completions.echo:
            return self.endpoint.echoed(self._prompt(choice), choice.text, choice.ids)
        found = []
        for place, token in enumerate(choice.ids):
            before = choice.prompt if place == 0 and not self.by_ids else None
            prompt = before if before is not None else [*choice.head, *choice.ids[:place]]
            found.append(self.endpoint.forced(prompt, token, choice.text if len(choice.ids) == 1 else ""))
        return None if None in found else math.fsum(each for each in found if each is not None)

    def _by_chat(self, question: Question) -> Answer:
        if question.messages is None or not question.one_token:
            return _answer(question, None, NOT_COMPARED)
        if self.chats.likeliest:
            reply = self.endpoint.chat(question.messages, logprobs=True, top_logprobs=self.chats.likeliest)
            return _answer(question, likeliest(reply, question.choices), f"{CHAT}, {LIKELIEST}", reply)
        reply = self.endpoint.chat(question.messages, length=_ROOM)
        return _answer(question, written(reply.text, question.choices), f"{CHAT}, {LETTERS}", reply)

    def _prompt(self, choice: Choice) -> Prompt:
        return choice.head if self.by_ids else choice.prompt


def likeliest(reply: Reply, choices: Sequence[Choice]) -> int | None:
    """The place of the choice whose token is the likeliest of those listed; None where none of them is.

    Where no token is a choice as it was scored, one that differs in spaces alone is it.
    """
    if not reply.tokens:
        return None
    listed = reply.tokens[0].likeliest or reply.tokens[:1]
    for exact in (True, False):
        found = {
            place: max(values)
            for place, choice in enumerate(choices)
            if (
                values := [
                    each.nats
                    for each in listed
                    if each.nats is not None
                    and (each.id == choice.ids[0] if each.id is not None and exact else _same(each.text, choice, exact))
                ]
            )
        }
        if found:
            best = max(found, key=lambda place: found[place])
            return best if found[best] > -math.inf else None
    return None


def _same(text: str, choice: Choice, exact: bool) -> bool:
    return text == choice.text if exact else text.strip() == choice.text.strip()


def written(text: str, choices: Sequence[Choice]) -> int | None:
    """The place of the choice that an answer begins with, as a word of its own; None where it begins with none."""
    begun = text.strip().lstrip("(*")
    fits = []
    for place, choice in enumerate(choices):
        wanted = choice.text.strip()
        rest = begun[len(wanted) :]
        if wanted and begun.startswith(wanted) and not (rest[:1].isalnum() and wanted[-1].isalnum()):
            fits.append((len(wanted), place))
    return max(fits)[1] if fits else None


def counted(ways: Sequence[Answer]) -> Mapping[str, int]:
    """How many items were asked in which way."""
    return dict(sorted(Counter(each.way for each in ways).items()))


def _answer(question: Question, picked: int | None, way: str, reply: Reply | None = None) -> Answer:
    return Answer(
        task=question.task,
        item=question.item,
        digest=question.digest,
        picked=picked,
        way=way if picked is not None else NOT_COMPARED,
        prompt_tokens=reply.prompt_tokens if reply is not None else None,
        expected_tokens=len(question.choices[0].head) if reply is not None else None,
    )
