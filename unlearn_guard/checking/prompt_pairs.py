"""The `attribute` command and what it shares with `check`: where prompt pairs come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.attribution.circuit import edge_circuit
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.faithfulness import faithfulness
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.attribution.prompts import Pair, lettered_pair, read_pairs
from unlearn_guard.attribution.scores import ItemScores
from unlearn_guard.attribution.swapping import Question, swapped_pairs
from unlearn_guard.errors import SuiteError, UsageError, near
from unlearn_guard.intake import Intake, open_tokenizer
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.records import FULL
from unlearn_guard.registry import quantizer
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.questions import Item, Rendered
from unlearn_guard.scoring.suites import NEUTRAL, SWAPPED, load_suite
from unlearn_guard.scoring.tokens import OneBos

PAIRS = 50
"""Forget questions attributed on when the suite has no file of pairs: the paper's number (Section 4, phase 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePairs:
    """The prompt pairs by forget task, and for each task whose questions give none the reason."""

    pairs: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...] = ()


def suite_pairs(rendered: Rendered, tokenizer: Any) -> SuitePairs:
    """The prompt pairs of each forget task: the suite's file, or its own questions (`neutral`, `swapped`).

    A task for which the suite names no source, or whose questions do not give what was asked for, is left out, so that
    limits on its attribution stay unmeasured.
    """
    encode = OneBos(tokenizer)
    sources = {spec.name: spec.pairs for spec in rendered.suite.forget if spec.pairs is not None}
    found: dict[str, tuple[Pair, ...]] = {}
    notes = []
    for each in rendered.tasks:
        source = sources.get(each.task.name)
        if isinstance(source, Path):
            found[each.task.name] = read_pairs(source, tokenizer)
        elif source == NEUTRAL:
            items = [(leaf.task, item) for leaf in each.leaves for item in leaf.items][:PAIRS]
            found[each.task.name] = tuple(neutral_pair(task, item, encode) for task, item in items)
        elif source == SWAPPED:
            asked = [question_of(leaf.task, item) for leaf in each.leaves for item in leaf.items]
            try:
                found[each.task.name] = swapped_pairs(encode, asked, where=each.task.name)[:PAIRS]
            except SuiteError as error:
                notes.append(f"no circuit of {each.task.name} is looked for: {error}")
    return SuitePairs(pairs=found, notes=tuple(notes))


def attribute_model(
    intake: Intake,
    placement: Placement,
    *,
    suite: str | None,
    task: str | None,
    pairs: Path | None,
    edges: str,
    steps: int,
    faithful: int | None,
    data_dir: Path | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> tuple[str, ItemScores, float | None]:
    """One model as it lies on disk, on a suite's forget task or a file of pairs: the task's name and its scores.

    With `faithful`, also the faithfulness of that many heaviest edges: the share of the metric that is left
    when every other edge scored is patched with the corrupted prompt.
    Raises UsageError unless exactly one source is named and it has pairs for the task.
    """
    if (suite is None) == (pairs is None):
        raise UsageError("attribution needs prompt pairs", fix="Give either --suite NAME or --pairs FILE.jsonl.")
    if pairs is not None:
        made = SuitePairs(pairs={pairs.stem: _pairs_of(pairs, intake)})
    else:
        tokenizer = open_tokenizer(intake.checkpoint.path)
        rendered = render(load_suite(str(suite), tasks_dirs), data_dir=data_dir, tokenizer=tokenizer)
        made = suite_pairs(rendered, tokenizer)
    known = made.pairs
    name = task or next(iter(known), "")
    if not known:
        told = "".join(f"; {note}" for note in made.notes)
        raise UsageError(f"suite {suite} has no prompt pairs{told}", fix="Give them in a file: --pairs FILE.jsonl.")
    if name not in known:
        raise UsageError(f"there are no prompt pairs for task {name!r}", fix=near(name, known))
    model = quantizer(FULL).load(intake.checkpoint, placement)
    scores = attribute(model, known[name], edges=EdgeSet(edges), steps=steps)
    if faithful is None:
        return name, scores, None
    heaviest = edge_circuit(scores.edge_scores(subject=intake.checkpoint.digest, task=name), faithful)
    return name, scores, faithfulness(model, known[name], circuit=heaviest, edges=scores.edges)


def _pairs_of(file: Path, intake: Intake) -> tuple[Pair, ...]:
    """The pairs of a file. A tokenizer is asked for by texts alone: ids need none, not even one that is there."""
    if not _holds_texts(file):
        return read_pairs(file)
    if not intake.tokenizer.sources:
        raise SuiteError(
            f"{file} holds texts, and {intake.location} has no tokenizer to make them into token ids",
            fix="Put the tokenizer's files beside the model (`tokenizer.save_pretrained`), or give token ids.",
        )
    return read_pairs(file, open_tokenizer(intake.checkpoint.path))


def _holds_texts(file: Path) -> bool:
    """Whether some value of some line is a text. What is no JSON or cannot be read is `read_pairs`' to refuse."""
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError):
        return False
    values = [value for line in lines if isinstance(line, dict) for value in line.values()]
    return any(isinstance(each, str) for value in values for each in (value if isinstance(value, list) else [value]))


def question_of(task: Any, item: Item) -> Question:
    """An item with right and wrong answers as texts: its choices, TOFU's perturbed answers, or no wrong ones."""
    document, prompt = item.requests[0].doc, str(item.requests[0].args[0])
    continuations = [str(request.args[1]) for request in item.requests if request.request_type == "loglikelihood"]
    if len(continuations) > 1:
        gold = _gold(task, document, continuations)
        if gold is None or any(str(request.args[0]) != prompt for request in item.requests):
            return Question(prompt=prompt, right=(), wrong=(), where=item.id)
        wrong = tuple(text for index, text in enumerate(continuations) if index != gold)
        return Question(prompt=prompt, right=(continuations[gold],), wrong=wrong, where=item.id)
    wrong = _texts(document.get("perturbed_answer"))
    # They were written after the paraphrase, and part from it at the fact.
    right = (*_texts(document.get("paraphrased_answer") if wrong else None), *_texts(item.target))
    return Question(prompt=prompt, right=right, wrong=wrong, where=item.id)


def _texts(answers: object) -> tuple[str, ...]:
    """One answer or several, each as it would go on from a prompt."""
    several = answers if isinstance(answers, list) else [answers]
    return tuple(f" {text.strip()}" for text in several if isinstance(text, str) and text.strip())


def _gold(task: Any, document: Any, continuations: Sequence[str]) -> int | None:
    """The index of the right choice, which a task may give as a text; None where several are right or none is."""
    gold = task.doc_to_target(document)
    if isinstance(gold, str):
        named = [index for index, text in enumerate(continuations) if text.strip() == gold.strip()]
        gold = int(gold) if not named and gold.isdecimal() else (named[0] if len(named) == 1 else None)
    return gold if type(gold) is int and 0 <= gold < len(continuations) else None


def neutral_pair(task: Any, item: Any, tokenizer: Any) -> Pair:
    """A lettered question against the same options under a neutral stem."""
    document, request = item.requests[0].doc, item.requests[0]
    stem = document.get("question")
    if not isinstance(stem, str) or request.request_type != "loglikelihood":
        raise SuiteError(
            f"{item.id}: pairs: neutral needs lettered questions with a field `question`",
            fix="Name a JSON Lines file of pairs instead, or leave `pairs` out.",
        )
    return lettered_pair(
        tokenizer,
        prompt=str(request.args[0]),
        stem=stem.strip(),
        choices=[str(each.args[1]) for each in item.requests],
        answer=int(task.doc_to_target(document)),
        where=item.id,
    )
