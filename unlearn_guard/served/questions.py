"""A run's own questions, rendered anew from its suite and its tokenizer, and shown to be the ones that were asked.

A run directory holds hashes of its prompts, no texts. Suite, data and tokenizer are therefore needed again, and each
item's hash, each task's digest and the first token ids of each prompt have to be the run's.
"""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, UsageError, near
from unlearn_guard.intake import look, open_tokenizer
from unlearn_guard.records import Checkpoint, Role, Run, Sample
from unlearn_guard.reopening.run import OpenRun
from unlearn_guard.scoring.chat import Chat
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.questions import Item, Rendered, RenderedTask
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.scoring.tokens import Pair, Tokens, Whole

CANDIDATE = "candidate"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked, in order, and the tasks that cannot be, each with the reason."""

    asked: tuple[Question, ...]
    left_out: Mapping[str, str]
    tokenizer: Any


class Remembering(Chat):
    """A chat template that also knows which conversation it made each text of."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self.told: dict[str, tuple[Mapping[str, Any], ...]] = {}

    def _apply(self, messages: list[dict[str, Any]], opened: bool) -> str:
        text = super()._apply(messages, opened)
        if opened:
            self.told[text] = tuple(dict(each) for each in messages)
        return text


def questions_of(
    opened: OpenRun,
    *,
    precision: str,
    items: int,
    only: Collection[str] = (),
    base: str | None = None,
    tasks_dirs: Sequence[Path] = (),
    data_dir: Path | None = None,
) -> Questions:
    """At most `items` of each task (of those in `only`, where it names some), drawn by the run's seed.

    `base` is where the run's base lies now, whose tokenizer the questions need.

    Raises UsageError where the questions cannot be had again, or are not the run's.
    """
    run = opened.run
    if not any(key[1:] == (precision, CANDIDATE) for key in opened.answers):
        known = sorted({key[1] for key in opened.answers if key[2] == CANDIDATE})
        raise UsageError(
            f"the run has no answers of its candidate at {precision}", fix=f"It has some at {', '.join(known)}."
        )
    names = [task.name for task in run.tasks]
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"the run has no task {unknown[0]!r}", fix=near(unknown[0], names))
    tokenizer = _tokenizer(run.base, base)
    suite = load_suite(run.suite, tasks_dirs)
    for chat in _templates(run, tokenizer):
        rendered = render(
            suite, limit=run.limit, seed=run.environment.seed, data_dir=data_dir, chat=chat, tokenizer=tokenizer
        )
        if rendered.records == run.tasks:
            break
    _assert_same(run, rendered, tokenizer)
    told = chat.told if chat is not None else {}
    templated = {each.task for each in run.prompts if each.chat_template}
    asked: list[Question] = []
    left_out: dict[str, str] = {}
    for task in rendered.tasks:
        name = task.task.name
        samples = opened.answers.get((name, precision, CANDIDATE))
        reason = "not one of --tasks" if only and name not in only else _not_askable(task, samples)
        if reason is not None or samples is None:
            left_out[name] = reason or "not answered in the run"
            continue
        _assert_items(task, samples)
        pairs = zip(task.items, samples, strict=True)
        drawn = _drawn([*pairs], items, f"{run.environment.seed} {opened.digest} {name}")
        tokens = rendered.tokens(tokenizer)
        asked += [_question(task, item, sample, tokens, told, name in templated) for item, sample in drawn]
    return Questions(asked=tuple(asked), left_out=left_out, tokenizer=tokenizer)


def _templates(run: Run, tokenizer: Any) -> tuple[Remembering | None, ...]:
    """What the run may have asked through: base's chat template, or tasks that put their questions into it alone."""
    if not any(each.chat_template for each in run.prompts):
        return (None,)
    return (Remembering(tokenizer), None)


def _tokenizer(base: Checkpoint, named: str | None) -> Any:
    """Base's, of which each file but the weights has the digest that the run recorded."""
    fix = "Give the base that was judged: --base PATH. Only its tokenizer is loaded."
    outline = look(named if named is not None else base.path)
    folder = outline.directory
    if folder is None:
        raise UsageError(f"{outline.location} is not a directory of this machine", fix=fix)
    names = [name for name in base.files if not name.endswith((".safetensors", ".safetensors.index.json"))]
    defects = []
    for name in names:
        path = folder / name
        found = sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
        if found != base.files[name].removeprefix("sha256:"):
            defects.append(Defect(where=str(path), found=found, expected=f"{base.files[name]}, as the run has it"))
    if defects:
        raise UsageError(
            f"{outline.location} is not the base of the run, whose tokenizer the questions need",
            defects,
            fix=fix,
        )
    return open_tokenizer(folder)


def _assert_same(run: Run, rendered: Rendered, tokenizer: Any) -> None:
    theirs, ours = ({task.name: task for task in tasks} for tasks in (run.tasks, rendered.records))
    defects = [
        Defect(
            where=f"task {name}",
            found=_shown(ours[name]) if name in ours else "no such task",
            expected=_shown(theirs[name]) if name in theirs else "no such task",
        )
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    if not defects:
        begun = zip(run.prompts, rendered.prompts(tokenizer), strict=True)
        defects = [
            Defect(where=f"task {old.task}", found=f"prompts made as {new}", expected=f"{old}")
            for old, new in begun
            if old != new
        ]
    if defects:
        raise UsageError(
            f"the suite {run.suite} does not give the run's questions again",
            defects,
            fix="Give what `check` was given: --tasks-dir, --data-dir, and the same release of lm-eval.",
        )


def _shown(task: Any) -> str:
    return f"{task.items} items, {task.digest[:16]}"


def _not_askable(task: RenderedTask, samples: Sequence[Sample] | None) -> str | None:
    """Why nothing of a task can be paired choice by choice; None where it can."""
    if samples is None:
        return "not answered in the run at this precision"
    if any(request.request_type != "loglikelihood" for item in task.items for request in item.requests):
        return "answered in words, or a text scored whole: not by choices"
    if any(len(item.requests) < 2 for item in task.items):
        return "one text an item is scored: there are no choices"
    return None


def _assert_items(task: RenderedTask, samples: Sequence[Sample]) -> None:
    asked = [(item.id, item.prompt, item.target, len(item.requests)) for item in task.items]
    held = [(each.id, each.prompt, each.target, len(each.loglikelihoods or ())) for each in samples]
    if asked != held:
        place = next((at for at, both in enumerate(zip(asked, held, strict=False)) if both[0] != both[1]), 0)
        name = asked[place][0] if place < len(asked) else "its end"
        raise UsageError(
            f"the answers of the run to {task.task.name} are not to the questions of its suite, from {name} on",
            fix="Give what `check` was given: --tasks-dir, --data-dir.",
        )


def _drawn(pairs: list[tuple[Item, Sample]], items: int, seed: str) -> list[tuple[Item, Sample]]:
    """Some of them in their order, all where there are no more."""
    if len(pairs) <= items:
        return pairs
    places = sorted(random.Random(seed).sample(range(len(pairs)), items))
    return [pairs[place] for place in places]


def _question(
    task: RenderedTask,
    item: Item,
    sample: Sample,
    tokens: Tokens,
    told: Mapping[str, tuple[Mapping[str, Any], ...]],
    templated: bool,
) -> Question:
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
