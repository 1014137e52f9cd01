"""One model at one precision: quantize it, ask it the suite's questions, and do neither twice.

What is stored is found again by everything that decides it: the model's bytes, the quantizer's recipe,
the calibration texts, the rendered items, engine, device, dtype, batch size and versions. Never by a path.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn_guard.checking.letting_go import let_go
from unlearn_guard.checking.progress import Stopwatch
from unlearn_guard.environment import versions
from unlearn_guard.errors import StorageError
from unlearn_guard.intake import Intake, open_tokenizer
from unlearn_guard.quantizers.coverage import linear_shapes
from unlearn_guard.quantizers.protocol import Calibration, Placement, Quantizer
from unlearn_guard.records import FULL, Checkpoint, LayerDrift, Task, TaskScore
from unlearn_guard.registry import quantizer
from unlearn_guard.runs.store import Store
from unlearn_guard.runs.store import key as store_key
from unlearn_guard.scoring.answers import Answers
from unlearn_guard.scoring.evaluate import Answered, ask, count
from unlearn_guard.scoring.lm import max_length_of, too_long
from unlearn_guard.scoring.questions import Rendered, RenderedTask
from unlearn_guard.scoring.stored_answers import from_json, to_json


@dataclass(kw_only=True)
class Bench:
    """Where models are measured: one placement, one suite, one store, for base and candidate alike."""

    rendered: Rendered
    base: Intake
    calibration: Calibration
    placement: Placement
    batch_size: int
    store: Store
    watch: Stopwatch
    notes: list[str] = field(default_factory=list)
    drift: tuple[LayerDrift, ...] = ()
    home: "Bench | None" = None
    """The bench whose quantized models this one loads, in a dtype of its own."""
    dose: float = 0.0
    """The share of base that is put into what is asked in full precision: of a positive control."""

    def score(
        self, who: str, intake: Intake, precision: str, tasks: Sequence[Task], artifact: Intake | None = None
    ) -> tuple[TaskScore, ...]:
        """The answers of one model at one precision to these tasks, from the store where they are there."""
        maker = quantizer(precision)
        with self.watch.stage(f"score {who}", precision) as reuse:
            recipe = self.recipe(precision, intake, artifact)
            asked = {each.task.name: each for each in self.rendered.tasks}
            keys = {task.name: self._key(intake, maker, recipe, task) for task in tasks}
            said = {name: self._stored(keys[name], asked[name]) for name in keys}
            missing = [name for name, answers in said.items() if answers is None]
            if missing:
                for each in self._ask(precision, intake, artifact, missing):
                    name = each.task.task.name
                    said[name] = each.answers
                    self.store.put_json(keys[name], to_json(each.task.items, each.answers))
            else:
                reuse()
            length = self.length(artifact or intake)
            scores = tuple(
                self._count(asked[name], answers, length, subject=intake.checkpoint.digest, precision=precision)
                for name, answers in said.items()
                if answers is not None
            )
        self.notes += [
            f"{who}, {score.task.name} at {precision}: {score.truncated} of {len(score.samples)} items were longer "
            "than the model takes and lost their beginning"
            for score in scores
            if score.truncated
        ]
        return scores

    @cached_property
    def tokenizer(self) -> Any:
        """Base's tokenizer; intake has seen that the candidate's is the same."""
        if self.home is not None:
            return self.home.tokenizer
        return open_tokenizer(self.base.checkpoint.path)

    def recipe(self, precision: str, intake: Intake, artifact: Intake | None) -> dict[str, Any]:
        """What, besides the model's own bytes, decides the weights that it computes with at this precision."""
        if artifact is not None:
            return {"quantizer": precision, "artifact": artifact.checkpoint.digest}
        maker = quantizer(precision)
        recipe = dict(maker.recipe(linear_shapes(intake.checkpoint.path)))
        recipe |= {"dose": self.dose, "of": self.base.checkpoint.digest} if self.dose else {}
        return {**recipe, "calibration": self.calibration.digest} if maker.calibrated else recipe

    def engine(self) -> dict[str, Any]:
        """What computes: device, dtype and every version."""
        device, dtype = self.placement.device_map, str(self.placement.dtype)
        more = {"compute": self.placement.compute, "cast": self.placement.cast}
        named = {key: str(value) for key, value in more.items() if value not in (None, "auto")}
        return {"device": device, "dtype": dtype, **named, "versions": versions()}

    @contextmanager
    def loaded(self, precision: str, intake: Intake, artifact: Intake | None) -> Iterator[Any]:
        """The model at this precision, quantized first where nobody has. Drop every reference to it before leaving."""
        maker = quantizer(precision)
        made = artifact.checkpoint if artifact else self.quantized(maker, intake)
        with let_go():
            model = maker.load(made, self.placement)
            if self.dose:
                from unlearn_guard.residue.mixing import mix

                mix(model, maker.load(self.base.checkpoint, self.placement), self.dose)
            yield model
            del model

    def _key(self, intake: Intake, maker: Quantizer, recipe: Mapping[str, Any], task: Task) -> str:
        return store_key(
            kind="scores",
            model=intake.checkpoint.digest,
            precision=maker.name,
            recipe=recipe,
            task=task.name,
            items=task.digest,
            batch_size=self.batch_size,
            engine=self.engine(),
        )

    def _stored(self, key: str, each: RenderedTask) -> Answers | None:
        """What the model is known to have said to these items; what cannot be an answer to them is thrown away."""
        held = self.store.get_json(key)
        if held is None:
            return None
        try:
            return from_json(held, each.items, self.rendered.tokens(self.tokenizer), each.each_token)
        except ValueError:
            self.store.discard(key)
            return None

    def _count(self, each: RenderedTask, answers: Answers, length: int, *, subject: str, precision: str) -> TaskScore:
        """By the task's own code, and by the role, chance and reference that the suite says today."""
        score = count(each, answers, subject=subject, precision=precision, seed=self.rendered.seed)
        requests = [request for item in each.items for request in item.requests]
        return replace(score, truncated=len(too_long(requests, self.rendered.tokens(self.tokenizer), length)))

    def length(self, intake: Intake) -> int:
        """How many tokens the model takes at once."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(intake.checkpoint.path, trust_remote_code=False, local_files_only=True)
        return max_length_of(config, self.tokenizer)

    def quantized(self, maker: Quantizer, intake: Intake) -> Checkpoint:
        """What this quantizer made of a model, made now where nobody has."""
        if self.home is not None and self.placement.cast == "auto":
            return self.home.quantized(maker, intake)
        if maker.name == FULL:
            return intake.checkpoint
        recipe = self.recipe(maker.name, intake, None)
        key = store_key(kind="quantized", model=intake.checkpoint.digest, recipe=recipe, engine=self.engine())
        stored = self.store.directory(key)
        if stored is None:
            self._assert_room(intake)

            def make(out: Path) -> None:
                maker.quantize(intake.checkpoint, self.calibration, out, self.placement)

            stored = self.store.publish(key, make)
        return Checkpoint(path=stored, digest=key, precision=maker.name, method=intake.checkpoint.method)

    def _assert_room(self, intake: Intake) -> None:
        needed = intake.stored_bytes
        self.store.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.store.root).free
        if free < needed:
            raise StorageError(
                f"{self.store.root} has {free / 1e9:.1f} GB free; a quantized copy may need {needed / 1e9:.1f} GB",
                fix="Free some space, or point UNLEARN_GUARD_CACHE to a larger disk.",
            )

    def _ask(self, precision: str, intake: Intake, artifact: Intake | None, tasks: Sequence[str]) -> Iterator[Answered]:
        with self.loaded(precision, intake, artifact) as model:
            for name in tasks:
                yield from ask(
                    self.rendered,
                    model,
                    self.tokenizer,
                    precision=precision,
                    tasks=[name],
                    batch_size=self.batch_size,
                    progress=self.watch.advance,
                )
            del model
