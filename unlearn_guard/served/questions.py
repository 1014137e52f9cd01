"""A run's own questions, rendered anew from its suite and its tokenizer, and shown to be the ones that were asked.

A run directory holds hashes of its prompts, no texts. Suite, data and tokenizer are therefore needed again, and each
item's hash, each task's digest and the first token ids of each prompt have to be the run's.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, UsageError, near
from unlearn_guard.intake import look, open_tokenizer
from unlearn_guard.records import Checkpoint, Run, Sample
from unlearn_guard.reopening.run import OpenRun
from unlearn_guard.scoring.chat import Chat
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.questions import Item, Rendered, RenderedTask
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.served.choices import Question, question_of

CANDIDATE = "candidate"


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
    _assert_known(opened, precision, only)
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
        asked += [question_of(task, item, sample, tokens, told, name in templated) for item, sample in drawn]
    return Questions(asked=tuple(asked), left_out=left_out, tokenizer=tokenizer)


def _assert_known(opened: OpenRun, precision: str, only: Collection[str]) -> None:
    """Raise UsageError for a precision or a task that the run does not have."""
    if not any(key[1:] == (precision, CANDIDATE) for key in opened.answers):
        known = sorted({key[1] for key in opened.answers if key[2] == CANDIDATE})
        raise UsageError(
            f"the run has no answers of its candidate at {precision}", fix=f"It has some at {', '.join(known)}."
        )
    names = [task.name for task in opened.run.tasks]
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"the run has no task {unknown[0]!r}", fix=near(unknown[0], names))


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
