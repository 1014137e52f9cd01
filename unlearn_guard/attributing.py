"""The `attribute` command and what it shares with `check`: where prompt pairs come from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlearn_guard.attribution.circuit import edge_circuit
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.faithfulness import faithfulness
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.attribution.prompts import Pair, lettered_pair, read_pairs, swapped_pairs
from unlearn_guard.attribution.scores import ItemScores
from unlearn_guard.errors import SuiteError, UsageError, near
from unlearn_guard.intake import Intake, open_tokenizer
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.records import FULL
from unlearn_guard.registry import quantizer
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.rendering import Rendered
from unlearn_guard.scoring.suites import NEUTRAL, SWAPPED, load_suite
from unlearn_guard.scoring.tokens import OneBos

PAIRS = 50
"""Forget questions attributed on when the suite has no file of pairs: the paper's number (Section 4, phase 1)."""


def suite_pairs(rendered: Rendered, tokenizer: Any) -> dict[str, tuple[Pair, ...]]:
    """The prompt pairs of each forget task: the suite's file, or its own questions (`neutral`, `swapped`).

    A task for which the suite names no source is left out, so that limits on its attribution stay unmeasured.
    """
    encode = OneBos(tokenizer)
    sources = {spec.name: spec.pairs for spec in rendered.suite.forget if spec.pairs is not None}
    found: dict[str, tuple[Pair, ...]] = {}
    for each in rendered.tasks:
        source = sources.get(each.task.name)
        if isinstance(source, Path):
            found[each.task.name] = read_pairs(source, tokenizer)
        elif source == NEUTRAL:
            items = [(leaf.task, item) for leaf in each.leaves for item in leaf.items][:PAIRS]
            found[each.task.name] = tuple(_neutral(task, item, encode) for task, item in items)
        elif source == SWAPPED:
            asked = [(str(item.requests[0].args[0]), item.target) for item in each.items]
            found[each.task.name] = swapped_pairs(encode, asked, where=each.task.name)[:PAIRS]
    return found


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
        known = {pairs.stem: _pairs_of(pairs, intake)}
    else:
        tokenizer = open_tokenizer(intake.checkpoint.path)
        known = suite_pairs(render(load_suite(str(suite), tasks_dirs), data_dir=data_dir), tokenizer)
    name = task or next(iter(known), "")
    if not known:
        raise UsageError(f"the suite {suite} has no prompt pairs", fix="Give them in a file: --pairs FILE.jsonl.")
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


def _neutral(task: Any, item: Any, tokenizer: Any) -> Pair:
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
