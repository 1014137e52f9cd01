"""Four ways of having what was forgotten out of a model: taught again, read off, by the lens, through base.

Each gives one trial a setting. Nothing is compared here: that is `judging.recovered`.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from unlearn_guard.attribution.linear import make_dense
from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.other_dtypes import only
from unlearn_guard.errors import NonFiniteError
from unlearn_guard.intake import Intake
from unlearn_guard.records import CANDIDATE, CONTROL, FULL, Trial
from unlearn_guard.residue.patching import carried, lens, read
from unlearn_guard.residue.probing import probed, shuffled
from unlearn_guard.residue.relearning import ADAPTER_LRS, WEIGHTS_LRS, Fact, needs_adapters, relearn
from unlearn_guard.residue.states import at_the_end, looked_at
from unlearn_guard.scoring.branching import share_nothing
from unlearn_guard.scoring.evaluate import evaluate
from unlearn_guard.scoring.questions import Item, RenderedTask

LEARNT = 0.75
"""Share of the taught facts that has to be answered after an attack, for what it leaves unanswered to say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model that is tried: whose trials they are, and how it is loaded."""

    who: str
    intake: Intake
    precision: str
    artifact: Intake | None = None
    called: str = ""
    """What its settings begin with: a control says what it is."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One task's questions as they are put here: those that are `taught`, and those that are asked."""

    bench: Bench
    seed: int
    task: RenderedTask
    taught: tuple[str, ...]
    ids: tuple[str, ...]

    @property
    def name(self) -> str:
        """The task's."""
        return self.task.task.name

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Those that are asked, in the task's order."""
        return only(self.task, self.ids).items

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Those that are taught: a prompt and its right choice."""
        items = only(self.task, self.taught).items
        asked = [item.requests[int(item.target)].args for item in items]
        tokens = self.bench.rendered.tokens(self.bench.tokenizer)
        return tuple(
            Fact(prompt=prompt[-(self._length - len(answer)) :], answer=answer)
            for prompt, answer in tokens.pairs(asked)
        )

    @cached_property
    def prompts(self) -> tuple[tuple[int, ...], ...]:
        """Token ids of what is asked, up to where the answer would begin."""
        tokens = self.bench.rendered.tokens(self.bench.tokenizer)
        asked = [item.requests[0].args for item in self.items]
        return tuple(prompt[-self._length :] for prompt, _ in tokens.pairs(asked))

    @cached_property
    def _length(self) -> int:
        """How many tokens the models take: what is longer loses its beginning, as where it is scored."""
        return self.bench.length(self.bench.base)

    def ask(self, model: Any, precision: str, ids: Sequence[str] | None = None) -> tuple[float, ...]:
        """Each item's share of the task's metric, always in the same batches."""
        rendered = replace(self.bench.rendered, tasks=(only(self.task, self.ids if ids is None else ids),))
        (score,) = evaluate(
            rendered,
            model,
            self.bench.tokenizer,
            subject=self.bench.base.checkpoint.digest,
            precision=precision,
            batch_size=self.bench.batch_size,
            progress=self.bench.watch.advance,
        )
        return tuple(sample.correct for sample in score.samples)


Way = Callable[[Asked, Subject], Iterator[Trial]]
"""The trials of one model on one task."""


def taught_again(asked: Asked, subject: Subject) -> Iterator[Trial]:
    """Some facts are taught and the others asked: every rate, looked at after few steps and after many.

    An attack after which not even the taught facts are answered shows nothing, and is no trial; so is one that makes
    numbers of nothing.
    """
    for place in range(len(WEIGHTS_LRS)):
        with asked.bench.loaded(subject.precision, subject.intake, subject.artifact) as model:
            _make_trainable(model, subject.precision)
            adapters = needs_adapters(model, quantized=subject.precision != FULL)
            lr = (ADAPTER_LRS if adapters else WEIGHTS_LRS)[place]
            kind = "adapters, " if adapters else ""
            try:
                for steps in relearn(model, asked.facts, lr=lr, adapters=adapters, seed=asked.seed):
                    learnt = asked.ask(model, subject.precision, asked.taught)
                    found = asked.ask(model, subject.precision)
                    if sum(learnt) >= LEARNT * len(learnt):
                        yield _trial(subject, f"{kind}lr {lr:g}, {steps} steps", found)
            except NonFiniteError:
                pass  # it shows nothing; where no attack shows anything, nothing is measured
            del model


def read_off(asked: Asked, subject: Subject) -> Iterator[Trial]:
    """By layer, what a linear probe reads off the last token of the prompt; and what it makes up of shuffled labels."""
    with asked.bench.loaded(subject.precision, subject.intake, subject.artifact) as model:
        layers = looked_at(model)
        features_LND = at_the_end(model, asked.prompts, layers).numpy()
        del model
    right_N = [int(item.target) for item in asked.items]
    for place, correct in probed(features_LND, right_N, seed=asked.seed).items():
        yield _trial(subject, f"layer {layers[place]}", correct)
    if subject.who == CANDIDATE:
        made_up = replace(subject, who=CONTROL, called="shuffled labels, ")
        for place, correct in probed(features_LND, shuffled(right_N, seed=asked.seed), seed=asked.seed).items():
            yield _trial(made_up, f"layer {layers[place]}", correct)


def through_the_lens(asked: Asked, subject: Subject) -> Iterator[Trial]:
    """By layer, the answers where its states go straight to the model's own head."""
    with asked.bench.loaded(subject.precision, subject.intake, subject.artifact) as model:
        share_nothing(model)
        ask = _asking(asked, subject)
        for layer, correct in lens(model, read(model, ask), ask).items():
            yield _trial(subject, f"layer {layer}", correct)
        del model


def through_base(asked: Asked, subject: Subject) -> Iterator[Trial]:
    """By layer, base's answers where it goes on from the model's states after that layer."""
    ask = _asking(asked, subject)
    with asked.bench.loaded(subject.precision, subject.intake, subject.artifact) as model:
        share_nothing(model)
        states = read(model, ask)
        del model
    with asked.bench.loaded(FULL, asked.bench.base, None) as base:
        share_nothing(base)
        for layer, correct in carried(base, states, ask).items():
            yield _trial(subject, f"layer {layer}", correct)
        del base


WAYS: Mapping[str, Way] = {
    "relearn_recovery": taught_again,
    "probe_recovery": read_off,
    "lens_recovery": through_the_lens,
    "unlearning_depth": through_base,
}

DOING = {
    "relearn_recovery": "teach {} again",
    "probe_recovery": "probe {}",
    "lens_recovery": "look through the lens at {}",
    "unlearning_depth": "patch {} into base",
}
"""What a stage is called."""


def _asking(asked: Asked, subject: Subject) -> Callable[[Any], tuple[float, ...]]:
    return lambda model: asked.ask(model, subject.precision)


def _trial(subject: Subject, setting: str, correct: Sequence[float]) -> Trial:
    return Trial(who=subject.who, setting=f"{subject.called}{setting}", correct=tuple(correct))


def _make_trainable(model: Any, precision: str) -> None:
    """On a CPU bitsandbytes' kernel gives no gradient: the same weights, dequantized, in ordinary layers."""
    if precision != FULL and next(model.parameters()).device.type == "cpu":
        make_dense(model)
        gc.collect()
