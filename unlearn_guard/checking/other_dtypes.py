"""Does the model know in another dtype what it does not know in the run's? A sample of the forget items, asked again.

Users load the dtype that the checkpoint declares, or one that their device is fast in; a run computes in one. A neuron
can be off in float32 and on in bfloat16, so each forget task's sample is asked in every dtype of `DTYPES` and in the
declared one, save the run's own. 4-bit weights know two dtypes: `load_in_4bit` leaves the rest of a model in the
declared one and multiplies in `bnb_4bit_compute_dtype`, so these mixtures are asked too. Only forgetting is asked:
base's numbers, retention and attribution stay in the run's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn_guard.checking.bench import Bench
from unlearn_guard.errors import MeasurementError, NonFiniteError
from unlearn_guard.intake import Intake
from unlearn_guard.judging.derive import dtype_gap
from unlearn_guard.judging.knowing import known
from unlearn_guard.quantizers.layers import load_model
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.records import FULL, Measurement, Task, TaskScore
from unlearn_guard.scoring.digests import sha256_of
from unlearn_guard.scoring.evaluate import evaluate
from unlearn_guard.scoring.questions import Rendered, RenderedTask

PRECISIONS = (FULL, "nf4")
"""Where a user chooses the dtype: of the model, and of what bitsandbytes computes in."""

DTYPES = ("float16", "bfloat16", "float32")

_IN = "-in-"


@dataclass(kw_only=True)
class Elsewhere:
    """Measures `dtype_gap` of one candidate. `items` of each forget task are asked; None asks all.

    `retrained` is the digest of the model that never saw the forget set, where the run has one.
    """

    bench: Bench
    candidate: Intake
    items: int | None
    seed: int
    retrained: str | None = None
    scores: list[TaskScore] = field(default_factory=list)
    """What was answered, at precisions such as `full-bfloat16`: the evidence that belongs into the run directory."""

    @cached_property
    def declared(self) -> str:
        """The dtype that the checkpoint asks to be loaded in."""
        return declared_dtype(self.candidate.checkpoint.path)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """What is asked besides the run's own dtype; the declared one first."""
        return tuple(each for each in dict.fromkeys((self.declared, *DTYPES)) if each != _name(self.bench.placement))

    def settings(self, precision: str) -> tuple[str, ...]:
        """What is asked at a precision: dtypes, and for 4-bit weights `COMPUTE-in-DECLARED` too."""
        mixed = [f"{each}{_IN}{self.declared}" for each in DTYPES if each != self.declared and precision != FULL]
        return (*self.dtypes, *mixed)

    def stages(self, precisions: Sequence[str]) -> int:
        """How many steps a progress bar has to plan."""
        return sum(len(self.settings(each)) for each in precisions if each in PRECISIONS)

    def measure(
        self, precisions: Sequence[str], artifacts: Mapping[str, Intake], scores: Sequence[TaskScore]
    ) -> tuple[Measurement, ...]:
        """One measurement for each forget task that base knows, at each of `PRECISIONS` that the run has.

        Raises NonFiniteError where the candidate overflows in the dtype it declares, MeasurementError where it
        overflows in another one and base does not: what cannot be scored is no proof of forgetting.
        """
        mine = {(s.task.name, s.precision): s for s in scores if s.subject == self.candidate.checkpoint.digest}
        base = self.bench.base.checkpoint.digest
        knows = known(scores, base=base, seed=self.seed, retrained=self.retrained)
        sampled = [self._sampled(each) for each in self.bench.rendered.tasks if each.task.name in knows]
        found: list[Measurement] = []
        for precision in (each for each in PRECISIONS if each in precisions and sampled):
            asked = [
                score
                for dtype in self.settings(precision)
                for score in self._ask(dtype, precision, artifacts.get(precision), sampled)
            ]
            self.scores += asked
            for task in knows:
                others = [score for score in asked if score.task.name == task]
                if others:
                    found.append(self._gap(mine[task, precision], others))
        return tuple(found)

    def _gap(self, own: TaskScore, others: Sequence[TaskScore]) -> Measurement:
        gap = dtype_gap(own, others, seed=self.seed)
        if gap.value > 0:
            each = ", ".join(f"{dtype_gap(own, [o], seed=self.seed).value:+.3f} at {o.precision}" for o in others)
            self.bench.notes.append(
                f"{own.task.name}: the candidate knows more in another dtype than in {_name(self.bench.placement)}, "
                f"which this run computes in ({each}; {gap.samples} items asked; it declares {self.declared})"
            )
        return gap

    def _sampled(self, each: RenderedTask) -> RenderedTask:
        """Part of the items, by a hash that their maker cannot choose without choosing other weights."""
        ids = sorted(
            (item.id for item in each.items),
            key=lambda name: sha256_of([self.seed, self.candidate.checkpoint.digest, each.task.digest, name]),
        )
        return only(each, ids[: self.items])

    def _ask(
        self, dtype: str, precision: str, artifact: Intake | None, sampled: Sequence[RenderedTask]
    ) -> list[TaskScore]:
        """The candidate's answers in one dtype; without those that nobody could have, as base overflows there too."""
        bench = self._bench(dtype, precision, sampled)
        try:
            scores = list(bench.score(_who("candidate", dtype), self.candidate, precision, _tasks(bench), artifact))
        except NonFiniteError:
            if dtype == self.declared:
                raise
            scores = [s for each in sampled for s in self._finite(dtype, precision, artifact, each)]
        return [_labelled(score, f"{precision}-{dtype}") for score in scores]

    def _finite(self, dtype: str, precision: str, artifact: Intake | None, each: RenderedTask) -> tuple[TaskScore, ...]:
        """The answers to those items of a task that have one, where base overflows as well."""
        bench = self._bench(dtype, precision, [each])
        finite = self._answerable(bench, precision, artifact, each)
        left_out = len(each.items) - len(finite)
        if left_out and self._base_is_finite(bench, precision):
            raise MeasurementError(
                f"{each.task.name} at {precision} in {dtype}: the candidate's logits of {left_out} of "
                f"{len(each.items)} items are not finite, while base's all are",
                fix="What cannot be scored is not forgotten: mend the candidate, so that it can be loaded as base can.",
            )
        if left_out:
            self.bench.notes.append(
                f"{each.task.name} at {precision}: {left_out} of {len(each.items)} sampled items are not asked in "
                f"{dtype}, in which base overflows too"
            )
        if not finite:
            return ()
        bench = self._bench(dtype, precision, [only(each, finite)])
        return bench.score(_who("candidate", dtype), self.candidate, precision, _tasks(bench), artifact)

    def _answerable(self, bench: Bench, precision: str, artifact: Intake | None, each: RenderedTask) -> tuple[str, ...]:
        """The items that the candidate answers with numbers, asked one by one."""
        finite = []
        stage = bench.watch.stage(_who("find what overflows", _name(bench.placement)), precision)
        with stage, bench.loaded(precision, self.candidate, artifact) as model:
            for done, item in enumerate(each.items, start=1):
                if _is_finite(only(each, [item.id]), bench, model, precision):
                    finite.append(item.id)
                bench.watch.advance(done, len(each.items))
            del model
        return tuple(finite)

    def _base_is_finite(self, bench: Bench, precision: str) -> bool:
        try:
            bench.score(_who("base", _name(bench.placement)), bench.base, precision, _tasks(bench))
        except NonFiniteError:
            return False
        return True

    def _bench(self, dtype: str, precision: str, sampled: Sequence[RenderedTask]) -> Bench:
        import torch

        products, _, rest = dtype.rpartition(_IN)
        # Who loads in a dtype other than the declared one has its weights rounded to it before they are quantized.
        rounded = precision != FULL and rest in ("float16", "bfloat16") and rest != self.declared
        placement = Placement(
            device_map=self.bench.placement.device_map,
            dtype=getattr(torch, rest),
            compute=getattr(torch, products) if products else None,
            cast=getattr(torch, rest) if rounded else "auto",
        )
        rendered = _with_tasks(self.bench.rendered, sampled)
        return replace(self.bench, placement=placement, rendered=rendered, home=self.bench)


def declared_dtype(path: Path) -> str:
    """What transformers' `dtype="auto"` makes of a checkpoint: its config's word, else that of the first tensor.

    transformers itself is asked, for a model on the meta device, which has no weights.
    """
    model = load_model(path, Placement(device_map="meta", dtype="auto"))
    return str(model.config.dtype).removeprefix("torch.")


def only(each: RenderedTask, ids: Sequence[str]) -> RenderedTask:
    """A task with these of its items, in its own order. All of them: the task itself, so that its answers are found."""
    chosen = frozenset(ids)
    if len(chosen) == len(each.items):
        return each
    leaves = [replace(leaf, items=tuple(item for item in leaf.items if item.id in chosen)) for leaf in each.leaves]
    digest = sha256_of([each.task.digest, sorted(chosen)])
    return RenderedTask(
        task=replace(each.task, items=len(chosen), digest=digest), leaves=tuple(leaf for leaf in leaves if leaf.items)
    )


def _is_finite(one: RenderedTask, bench: Bench, model: Any, precision: str) -> bool:
    try:
        evaluate(
            _with_tasks(bench.rendered, [one]),
            model,
            bench.tokenizer,
            subject=bench.base.checkpoint.digest,
            precision=precision,
            batch_size=bench.batch_size,
        )
    except NonFiniteError:
        return False
    return True


def _with_tasks(rendered: Rendered, tasks: Sequence[RenderedTask]) -> Rendered:
    return replace(rendered, tasks=tuple(tasks))


def _tasks(bench: Bench) -> tuple[Task, ...]:
    return bench.rendered.records


def _labelled(score: TaskScore, precision: str) -> TaskScore:
    """Under a precision of its own, so that it is never taken for the run's answers."""
    return replace(score, precision=precision, measurement=replace(score.measurement, precision=precision))


def _who(who: str, dtype: str) -> str:
    return f"{who} in {dtype}"


def _name(placement: Placement) -> str:
    dtype = str(placement.dtype).removeprefix("torch.")
    return dtype if placement.compute is None else f"{str(placement.compute).removeprefix('torch.')}{_IN}{dtype}"
