"""Has the mechanism gone, or only its output? Attribution of base and candidate, on the forget tasks' prompt pairs.

The circuit is base's, found in full precision. It is held against the candidate in full precision and at
NF4, because an edit can hide below the quantizer's grid: whole in full precision, gone after.
"""

import gc
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from unlearn_guard.attribution import cad
from unlearn_guard.attribution.circuit import Circuit, edge_circuit, mlp_circuit
from unlearn_guard.attribution.eap_ig import DEFAULT_STEPS, attribute
from unlearn_guard.attribution.faithfulness import faithfulness
from unlearn_guard.attribution.graph import EdgeSet
from unlearn_guard.attribution.linear import make_dense
from unlearn_guard.attribution.prompts import Pair, lettered_pair, read_pairs
from unlearn_guard.attribution.scores import ItemScores, write_scores
from unlearn_guard.attribution.shifts import NodeOutputs, measure_shift, node_outputs
from unlearn_guard.errors import SuiteError, UsageError, near
from unlearn_guard.intake import Intake, assert_tensors, assert_unchanged, expected_tensors
from unlearn_guard.measuring import Bench, open_tokenizer
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.records import FULL, Measurement, Role
from unlearn_guard.registry import quantizer
from unlearn_guard.runs.store import key as store_key
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.rendering import Rendered, RenderedTask
from unlearn_guard.scoring.suites import NEUTRAL, load_suite

PRECISIONS = (FULL, "nf4")
"""Where attribution is measured: gradients flow through both."""

PAIRS = 50
"""Forget questions attributed on when the suite has no file of pairs: the paper's number (Section 4, phase 1)."""

SHIFT_PROMPTS = 8
"""Prompts a task for activation shifts: each costs 8 L T D bytes of memory."""

_Measurements = TypeAdapter(tuple[Measurement, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """One model's edge scores on each forget task that has pairs."""

    who: str
    subject: str
    precision: str
    scores: Mapping[str, ItemScores]

    def write(self, folder: Path) -> None:
        """One file a task, in the format of the `attribute` command."""
        folder.mkdir(parents=True, exist_ok=True)
        for task, scores in self.scores.items():
            write_scores(folder / f"{task}.{self.precision}.{self.who}.json", scores, subject=self.subject, task=task)


@dataclass(kw_only=True)
class Erasure:
    """Measures `cad`, `as_c`, `as_nc` and activation shifts of one candidate against base."""

    bench: Bench
    candidate: Intake
    seed: int
    pairs: Mapping[str, tuple[Pair, ...]] = field(init=False)
    prompts: Mapping[str, tuple[tuple[int, ...], ...]] = field(init=False)
    attributed: list[Attributed] = field(default_factory=list)

    def __post_init__(self) -> None:
        rendered = self.bench.rendered.tasks
        self.pairs = suite_pairs(self.bench.rendered, self.bench.tokenizer)
        retain = [each for each in rendered if each.task.role is Role.RETAIN]
        self.prompts = {name: tuple(pair.clean for pair in pairs[:SHIFT_PROMPTS]) for name, pairs in self.pairs.items()}
        self.prompts |= {each.task.name: _contexts(each, self.bench.tokenizer) for each in retain}

    def measure(self, precisions: Sequence[str], artifacts: Mapping[str, Intake]) -> tuple[Measurement, ...]:
        """Every erasure measurement at the precisions that allow it; none where no forget task has pairs."""
        if not self.pairs:
            return ()
        base = self._attribute("base", self.bench.base, FULL, None)
        circuits = {
            task: mlp_circuit(scores.edge_scores(subject=base.subject, task=task))
            for task, scores in base.scores.items()
        }
        outputs: dict[str, NodeOutputs] = {}
        found: list[Measurement] = []
        for precision in (each for each in PRECISIONS if each in precisions):
            artifact = artifacts.get(precision)
            after = self._attribute("candidate", self.candidate, precision, artifact)
            for task, circuit in circuits.items():
                found += cad.measure(
                    base.scores[task],
                    after.scores[task],
                    circuit,
                    subject=after.subject,
                    precision=precision,
                    task=task,
                    seed=self.seed,
                )
            found += self._shifts(precision, artifact, circuits, outputs)
        return tuple(found)

    def _attribute(self, who: str, intake: Intake, precision: str, artifact: Intake | None) -> Attributed:
        with self.bench.watch.stage(f"attribute {who}", precision) as reuse:
            recipe = self.bench.recipe(precision, intake, artifact)
            keys = {task: self._key("attribution", intake, recipe, pairs) for task, pairs in self.pairs.items()}
            scores = {task: _decode(self.bench.store.get_json(key)) for task, key in keys.items()}
            if any(each is None for each in scores.values()):
                with self.bench.loaded(precision, intake, artifact) as model:
                    _make_differentiable(model, precision)
                    for done, (task, pairs) in enumerate(self.pairs.items(), start=1):
                        scores[task] = made = attribute(model, pairs)
                        self.bench.store.put_json(keys[task], _encode(made))
                        self.bench.watch.progress.advance(done, len(self.pairs))
                    del model
            else:
                reuse()
        found = Attributed(
            who=who,
            subject=intake.checkpoint.digest,
            precision=precision,
            scores={task: each for task, each in scores.items() if each is not None},
        )
        self.attributed.append(found)
        return found

    def _shifts(
        self,
        precision: str,
        artifact: Intake | None,
        circuits: Mapping[str, Circuit],
        outputs: dict[str, NodeOutputs],
    ) -> tuple[Measurement, ...]:
        """Activation shifts on forget and retain prompts, the latter by the first forget task's circuit."""
        with self.bench.watch.stage("compare activations", precision) as reuse:
            recipe = self.bench.recipe(precision, self.candidate, artifact)
            asked = {"prompts": self.prompts, "circuits": {task: c.layers for task, c in circuits.items()}}
            key = self._key(
                "shifts", self.candidate, recipe, (), against=self.bench.base.checkpoint.digest, asked=asked
            )
            stored = self.bench.store.get_json(key)
            if stored is not None:
                reuse()
                return _Measurements.validate_python(stored)
            if not outputs:
                with self.bench.loaded(FULL, self.bench.base, None) as model:
                    outputs |= {task: node_outputs(model, prompts) for task, prompts in self.prompts.items()}
                    del model
            with self.bench.loaded(precision, self.candidate, artifact) as model:
                _make_differentiable(model, precision)
                after = {task: node_outputs(model, prompts) for task, prompts in self.prompts.items()}
                del model
            default = next(iter(circuits.values()))
            found = tuple(
                each
                for task in self.prompts
                for each in measure_shift(
                    outputs[task],
                    after[task],
                    circuits.get(task, default),
                    subject=self.candidate.checkpoint.digest,
                    precision=precision,
                    task=task,
                    seed=self.seed,
                )
            )
            self.bench.store.put_json(key, _Measurements.dump_python(found, mode="json"))
        return found

    def _key(self, kind: str, intake: Intake, recipe: Mapping[str, Any], pairs: Sequence[Pair], **more: Any) -> str:
        asked = [[pair.clean, pair.corrupted, pair.target, pair.wrong] for pair in pairs]
        return store_key(
            kind=kind,
            model=intake.checkpoint.digest,
            recipe=recipe,
            pairs=hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
            steps=DEFAULT_STEPS,
            seed=self.seed,
            engine=self.bench.engine(),
            more=json.dumps(more, sort_keys=True),
        )


def suite_pairs(rendered: Rendered, tokenizer: Any) -> dict[str, tuple[Pair, ...]]:
    """The prompt pairs of each forget task: the suite's file, or its own questions where that says `neutral`.

    A task for which the suite names no source is left out, so that limits on its attribution stay unmeasured.
    """
    sources = {spec.name: spec.pairs for spec in rendered.suite.forget if spec.pairs is not None}
    found: dict[str, tuple[Pair, ...]] = {}
    for each in rendered.tasks:
        source = sources.get(each.task.name)
        if isinstance(source, Path):
            found[each.task.name] = read_pairs(source, tokenizer)
        elif source == NEUTRAL:
            items = [(leaf.task, item) for leaf in each.leaves for item in leaf.items][:PAIRS]
            found[each.task.name] = tuple(_neutral(task, item, tokenizer) for task, item in items)
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
) -> tuple[str, ItemScores, float | None]:
    """One model as it lies on disk, on a suite's forget task or a file of pairs: the task's name and its scores.

    With `faithful`, also the faithfulness of that many heaviest edges: the share of the metric that is left
    when every other edge scored is patched with the corrupted prompt.
    Raises UsageError unless exactly one source is named and it has pairs for the task.
    """
    if (suite is None) == (pairs is None):
        raise UsageError("attribution needs prompt pairs", fix="Give either --suite NAME or --pairs FILE.jsonl.")
    assert_tensors(intake, expected_tensors(intake.checkpoint.path))
    tokenizer = open_tokenizer(intake.checkpoint.path)
    if pairs is not None:
        known = {pairs.stem: read_pairs(pairs, tokenizer)}
    else:
        known = suite_pairs(render(load_suite(str(suite))), tokenizer)
    name = task or next(iter(known), "")
    if name not in known:
        raise UsageError(f"there are no prompt pairs for task {name!r}", fix=near(name, known) or "The suite has none.")
    model = quantizer(FULL).load(intake.checkpoint, placement)
    assert_unchanged(intake)
    scores = attribute(model, known[name], edges=EdgeSet(edges), steps=steps)
    if faithful is None:
        return name, scores, None
    heaviest = edge_circuit(scores.edge_scores(subject=intake.checkpoint.digest, task=name), faithful)
    return name, scores, faithfulness(model, known[name], circuit=heaviest, edges=scores.edges)


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


def _contexts(each: RenderedTask, tokenizer: Any) -> tuple[tuple[int, ...], ...]:
    texts = [str(item.requests[0].args[0]) for item in each.items[:SHIFT_PROMPTS]]
    return tuple(tuple(tokenizer(text)["input_ids"]) for text in texts)


def _make_differentiable(model: Any, precision: str) -> None:
    """On a CPU bitsandbytes' kernel gives no gradient: the same weights, dequantized, in ordinary layers."""
    if precision != FULL and next(model.parameters()).device.type == "cpu":
        make_dense(model)
        gc.collect()


def _encode(scores: ItemScores) -> dict[str, Any]:
    return {
        "edges": list(scores.edges),
        "scores": scores.scores_NE.tolist(),
        "clean": scores.clean_N.tolist(),
        "corrupted": scores.corrupted_N.tolist(),
        "steps": scores.steps,
    }


def _decode(held: Any) -> ItemScores | None:
    if held is None:
        return None
    return ItemScores(
        edges=tuple(held["edges"]),
        scores_NE=np.array(held["scores"], dtype=np.float32),
        clean_N=np.array(held["clean"]),
        corrupted_N=np.array(held["corrupted"]),
        steps=held["steps"],
    )
