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

from unlearn_guard.attribution import cad
from unlearn_guard.attribution.architectures import FAMILIES
from unlearn_guard.attribution.circuit import Circuit, mlp_circuit
from unlearn_guard.attribution.eap_ig import DEFAULT_STEPS, attribute
from unlearn_guard.attribution.linear import make_dense
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.attribution.scores import ItemScores, write_scores
from unlearn_guard.attribution.shifts import Moves, NodeOutputs, corrected_shift, measure_shift, moves, node_outputs
from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.prompt_pairs import suite_pairs
from unlearn_guard.intake import Intake
from unlearn_guard.records import FULL, Measurement, Role
from unlearn_guard.runs.store import key as store_key
from unlearn_guard.scoring.questions import RenderedTask
from unlearn_guard.scoring.tokens import OneBos

PRECISIONS = (FULL, "nf4")
"""Where attribution is measured: gradients flow through both."""

SHIFT_PROMPTS = 8
"""Prompts a task for activation shifts: each costs 8 L T D bytes of memory."""


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
    """Measures `cad`, `as_c`, `as_nc` and activation shifts of one candidate against base, each also corrected."""

    bench: Bench
    candidate: Intake
    seed: int
    pairs: Mapping[str, tuple[Pair, ...]] = field(init=False)
    prompts: Mapping[str, tuple[tuple[int, ...], ...]] = field(init=False)
    attributed: list[Attributed] = field(default_factory=list)

    def __post_init__(self) -> None:
        rendered = self.bench.rendered.tasks
        made = suite_pairs(self.bench.rendered, self.bench.tokenizer)
        self.pairs = made.pairs
        self.bench.notes += made.notes
        retain = [each for each in rendered if each.task.role is Role.RETAIN]
        family = self.bench.base.config.get("model_type")
        if self.pairs and family not in FAMILIES:
            self.bench.notes.append(
                f"attribution does not know how a {family!r} model adds up its residual stream: cad, as_c, as_nc and "
                "the activation shifts are not measured"
            )
            self.pairs = {}
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
            if self._answers(task, scores)
        }
        if not circuits:
            return ()
        outputs: dict[str, NodeOutputs] = {}
        found: list[Measurement] = []
        for precision in (each for each in PRECISIONS if each in precisions):
            artifact = artifacts.get(precision)
            after = self._attribute("candidate", self.candidate, precision, artifact)
            for task, circuit in circuits.items():
                where = {"subject": after.subject, "precision": precision, "task": task}
                found += cad.measure(base.scores[task], after.scores[task], circuit, **where)
                found += cad.corrected(base.scores[task], after.scores[task], circuit, **where)
            found += self._shifts(precision, artifact, circuits, outputs)
        return tuple(found)

    def _answers(self, task: str, scores: ItemScores) -> bool:
        """Whether base prefers the right answer under the clean prompts: else there is no mechanism to look for."""
        clean, corrupted = float(scores.clean_N.mean()), float(scores.corrupted_N.mean())
        if clean <= max(0.0, corrupted):
            self.bench.notes.append(
                f"base's answer to {task} is not better under clean prompts ({clean:.3f}) than under corrupted ones "
                f"({corrupted:.3f}), so no circuit is looked for"
            )
            return False
        return True

    def _attribute(self, who: str, intake: Intake, precision: str, artifact: Intake | None) -> Attributed:
        with self.bench.watch.stage(f"attribute {who}", precision) as reuse:
            recipe = self.bench.recipe(precision, intake, artifact)
            keys = {task: self._key("attribution", intake, recipe, pairs) for task, pairs in self.pairs.items()}
            scores = {task: _scored(self.bench, key, self.pairs[task]) for task, key in keys.items()}
            if any(each is None for each in scores.values()):
                with self.bench.loaded(precision, intake, artifact) as model:
                    _make_differentiable(model, precision)
                    for done, (task, pairs) in enumerate(self.pairs.items(), start=1):
                        scores[task] = made = attribute(model, pairs)
                        self.bench.store.put_json(keys[task], _encode(made))
                        self.bench.watch.advance(done, len(self.pairs))
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
            against = self.bench.base.checkpoint.digest
            key = self._key("moves", self.candidate, recipe, (), against=against, prompts=self.prompts)
            moved = _moved(self.bench, key, self.prompts)
            if moved is not None:
                reuse()
            else:
                moved = self._move(precision, artifact, outputs)
                held = {task: [each.change_NU.tolist(), each.size_NU.tolist()] for task, each in moved.items()}
                self.bench.store.put_json(key, held)
        default = next(iter(circuits.values()))
        where = {"subject": self.candidate.checkpoint.digest, "precision": precision}
        return tuple(
            each
            for task in self.prompts
            for shift in (measure_shift, corrected_shift)
            for each in shift(moved[task], circuits.get(task, default), **where, task=task)
        )

    def _move(self, precision: str, artifact: Intake | None, outputs: dict[str, NodeOutputs]) -> dict[str, Moves]:
        """How far the candidate's sublayers moved from base's; `outputs` are base's, once they are known."""
        if not outputs:
            with self.bench.loaded(FULL, self.bench.base, None) as model:
                outputs |= {task: node_outputs(model, prompts) for task, prompts in self.prompts.items()}
                del model
        with self.bench.loaded(precision, self.candidate, artifact) as model:
            _make_differentiable(model, precision)
            after = {task: node_outputs(model, prompts) for task, prompts in self.prompts.items()}
            del model
        return {task: moves(outputs[task], after[task]) for task in self.prompts}

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


def _contexts(each: RenderedTask, tokenizer: Any) -> tuple[tuple[int, ...], ...]:
    texts = [str(item.requests[0].args[0]) for item in each.items[:SHIFT_PROMPTS]]
    encode = OneBos(tokenizer)
    return tuple(tuple(encode(text)["input_ids"]) for text in texts)


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


def _scored(bench: Bench, key: str, pairs: Sequence[Pair]) -> ItemScores | None:
    """The stored edge scores of these prompt pairs; what cannot be theirs is thrown away."""
    held = bench.store.get_json(key)
    if held is None:
        return None
    try:
        found = ItemScores(
            edges=tuple(held["edges"]),
            scores_NE=np.array(held["scores"], dtype=np.float32),
            clean_N=np.array(held["clean"], dtype=np.float64),
            corrupted_N=np.array(held["corrupted"], dtype=np.float64),
            steps=held["steps"],
        )
    except (KeyError, TypeError, ValueError):
        found = None
    if found is None or found.items != len(pairs) or found.steps != DEFAULT_STEPS:
        bench.store.discard(key)
        return None
    return found


def _moved(bench: Bench, key: str, prompts: Mapping[str, Sequence[Any]]) -> dict[str, Moves] | None:
    """The stored moves on these prompts; what cannot be theirs is thrown away."""
    held = bench.store.get_json(key)
    if held is None:
        return None
    try:
        found = {
            task: Moves(change_NU=np.array(change, dtype=np.float64), size_NU=np.array(size, dtype=np.float64))
            for task, (change, size) in held.items()
        }
    except (AttributeError, TypeError, ValueError):
        found = {}
    if {task: len(each.size_NU) for task, each in found.items()} != {task: len(each) for task, each in prompts.items()}:
        bench.store.discard(key)
        return None
    return found
