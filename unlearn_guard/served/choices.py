"""An item as it can be asked of an endpoint: its choices after their prompts, in text and in token ids."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn_guard.records import Role, Sample
from unlearn_guard.scoring.questions import Item, RenderedTask
from unlearn_guard.scoring.tokens import Pair, Tokens, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A choice after its prompt, in text and in token ids: what was scored is `ids` after `head`."""

    prompt: str
    head: tuple[int, ...]
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An item as it can be asked. `messages` is the conversation, where the run asked through a chat template.

    What all choices begin with (the line break of a template) belongs to the prompt here: it adds the same to each.
    `nats` are the judged log-likelihoods of the choices.
    """

    task: str
    role: Role
    item: str
    digest: str
    choices: tuple[Choice, ...]
    nats: tuple[float, ...]
    templated: bool
    messages: tuple[Mapping[str, Any], ...] | None = None

    @property
    def one_token(self) -> bool:
        """Whether all choices are one token after the same prompt, so that a single look at the vocabulary answers."""
        return len({each.head for each in self.choices}) == 1 and all(len(each.ids) == 1 for each in self.choices)


def question_of(
    task: RenderedTask,
    item: Item,
    sample: Sample,
    tokens: Tokens,
    told: Mapping[str, tuple[Mapping[str, Any], ...]],
    templated: bool,
) -> Question:
    """The item with the choices that a run's answer to it is about. `told` are conversations by their text."""
    contexts = [request.args[0] for request in item.requests]
    pairs = tokens.pairs([request.args for request in item.requests])
    shared = _shared(pairs)
    choices = tuple(_choices(contexts, pairs, shared, tokens))
    return Question(
        task=task.task.name,
        role=task.task.role,
        item=item.id,
        digest=item.prompt,
        choices=choices,
        nats=tuple(sample.loglikelihoods or ()),
        templated=templated,
        messages=told.get(contexts[0]) if len(set(contexts)) == 1 else None,
    )


def _shared(pairs: Sequence[Pair]) -> int:
    """How many tokens all continuations of one context begin with; each keeps one of its own at least."""
    if len({head for head, _ in pairs}) > 1:
        return 0
    rests = [rest for _, rest in pairs]
    count = 0
    while all(len(rest) > count + 1 for rest in rests) and len({rest[count] for rest in rests}) == 1:
        count += 1
    return count


def _choices(contexts: Sequence[str], pairs: Sequence[Pair], shared: int, tokens: Tokens) -> Iterator[Choice]:
    for context, (head, rest) in zip(contexts, pairs, strict=True):
        begun = context if isinstance(context, Whole) else context.rstrip()
        if shared:
            begun += _text(tokens, head, rest[:shared])
        yield Choice(
            prompt=without_bos(tokens, begun),
            head=(*head, *rest[:shared]),
            text=_text(tokens, (*head, *rest[:shared]), rest[shared:]),
            ids=rest[shared:],
        )


def _text(tokens: Tokens, head: Sequence[int], ids: Sequence[int]) -> str:
    """What these ids add to a text that ends in `head`; decoded alone, some tokenizers drop a word's space."""
    before = list(head[-_CONTEXT:])
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    whole, known = (str(tokens.tokenizer.decode(each, **options)) for each in ([*before, *ids], before))
    return whole[len(known) :] if whole.startswith(known) else str(tokens.tokenizer.decode([*ids], **options))


_CONTEXT = 8


def without_bos(tokens: Tokens, text: str) -> str:
    """The text as a server is given it, which puts the tokenizer's BOS before it as the tokenizer does."""
    if tokens.bos is None or tokens.prefix[:1] != (tokens.bos,):
        return text
    return text.removeprefix(str(tokens.tokenizer.decode([tokens.bos])))
