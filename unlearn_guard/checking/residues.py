"""Is what was to be forgotten still inside? Measured where it is asked for, or where the policy limits it.

Of each forget task that base knows and that is answered by the likelihood of choices, part of the items is tried on
the candidate, on base, and on a control that never knew: the retrained model where there is one, else an answer drawn
blindly; shuffled labels where states are probed.
"""

import importlib.metadata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.residue_ways import DOING, LEARNT, WAYS, Asked, Subject
from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.intake import Intake
from unlearn_guard.judging.knowing import known
from unlearn_guard.judging.recovered import AS_IT_IS, BLINDLY, recovered
from unlearn_guard.records import (
    BASE,
    CANDIDATE,
    CONTROL,
    DEPTH,
    FULL,
    LENS,
    PROBE,
    RELEARN,
    RESIDUES,
    Measurement,
    TaskScore,
    Trial,
    Trials,
)
from unlearn_guard.residue.probing import FOLDS, PENALTY
from unlearn_guard.residue.relearning import ADAPTER_LRS, BATCH, LOOKS, RANK, WEIGHTS_LRS
from unlearn_guard.residue.states import MOST_LAYERS
from unlearn_guard.runs.store import key as store_key
from unlearn_guard.scoring.digests import sha256_of
from unlearn_guard.scoring.questions import RenderedTask

PRECISIONS = (FULL, "nf4")
"""Where a model can be taught and looked into: of gptq and awq nothing here gives gradients."""

ITEMS = 160
"""Of each task at most so many are taught or asked."""

SHARE = 0.1
"""Of these so many are taught."""

FEWEST = 40
"""With fewer nothing is tried: four facts teach nobody."""


@dataclass(kw_only=True)
class Residues:
    """Measures the metrics in `wanted` of one candidate. `retrained` is the control, where the run has one."""

    bench: Bench
    candidate: Intake
    retrained: Intake | None
    wanted: Collection[str]
    seed: int
    trials: list[Trials] = field(default_factory=list)
    """What was tried: the evidence that belongs into the run directory."""

    def stages(self, precisions: Sequence[str]) -> int:
        """How many steps a progress bar has to plan, at most."""
        each = {RELEARN: 1, PROBE: 2, LENS: 2, DEPTH: 1}
        more = sum(metric != PROBE for metric in self._metrics()) if self.retrained else 0
        return (sum(each[metric] for metric in self._metrics()) + more) * len(self._where(precisions))

    def measure(
        self, precisions: Sequence[str], artifacts: Mapping[str, Intake], scores: Sequence[TaskScore]
    ) -> tuple[Measurement, ...]:
        """One measurement a metric, task and precision, where base gives clearly more than the control."""
        if not self._metrics():
            return ()
        tasks = tuple(self._asked(scores))
        if RELEARN in self.wanted and self.retrained is None:
            self.bench.notes.append(
                f"{RELEARN}: without --retrained PATH the control is an answer drawn blindly, so what anybody learns "
                "of how the questions go counts as recovered"
            )
        found: list[Measurement] = []
        for precision in self._where(precisions) if tasks else ():
            for metric in self._metrics():
                try:
                    tried = [*self._tried(metric, precision, artifacts.get(precision), tasks, scores)]
                except (NonFiniteError, UsageError) as error:  # of a model that cannot be looked into: its limit stays
                    self.bench.notes.append(f"{metric} at {precision} is not measured: {error.summary}")
                    continue
                self.trials += tried
                found += self._recovered(tried)
        return tuple(found)

    def _recovered(self, tried: Sequence[Trials]) -> Iterator[Measurement]:
        for trials in tried:
            if (measured := recovered(trials, seed=self.seed)) is not None:
                yield measured
            else:
                self.bench.notes.append(
                    f"{trials.metric} of {trials.task} at {trials.precision}: base gives no more than the control, so "
                    "what the candidate does not give shows nothing"
                )

    def _metrics(self) -> tuple[str, ...]:
        return tuple(metric for metric in RESIDUES if metric in self.wanted)

    def _where(self, precisions: Sequence[str]) -> tuple[str, ...]:
        return tuple(each for each in PRECISIONS if each in precisions)

    def _asked(self, scores: Sequence[TaskScore]) -> Iterator[Asked]:
        """The forget tasks that can be tried, with the items that are; a note for each that cannot."""
        retrained = self.retrained.checkpoint.digest if self.retrained else None
        base = self.bench.base.checkpoint.digest
        knows = known(scores, base=base, seed=self.seed, retrained=retrained)
        for each in (each for each in self.bench.rendered.tasks if each.task.name in knows):
            reason = "" if each.task.likeliest else "not answered by the likelihood of choices"
            reason = reason or (f"fewer than {FEWEST} items" if len(each.items) < FEWEST else "")
            if reason:
                self.bench.notes.append(f"{each.task.name}: {reason}, so {', '.join(self._metrics())} are not measured")
            else:
                yield self._chosen(each)

    def _chosen(self, each: RenderedTask) -> Asked:
        """By a hash that nobody can choose without choosing other weights; nothing that is taught is asked again."""
        told = [self.seed, self.candidate.checkpoint.digest, each.task.digest, "residue"]
        items = sorted(each.items, key=lambda item: sha256_of([*told, item.id]))[:ITEMS]
        count = round(SHARE * len(items))
        taught = {item.prompt for item in items[:count]}
        return Asked(
            bench=self.bench,
            seed=self.seed,
            task=each,
            taught=tuple(item.id for item in items[:count]),
            ids=tuple(item.id for item in items[count:] if item.prompt not in taught),
        )

    def _tried(
        self,
        metric: str,
        precision: str,
        artifact: Intake | None,
        tasks: Sequence[Asked],
        scores: Sequence[TaskScore],
    ) -> Iterator[Trials]:
        mine = Subject(who=CANDIDATE, intake=self.candidate, precision=precision, artifact=artifact)
        made = {CANDIDATE: self._stage(metric, mine, "candidate", tasks)}
        if metric in (PROBE, LENS):
            base = Subject(who=BASE, intake=self.bench.base, precision=FULL)
            made[BASE] = self._stage(metric, base, "base", tasks)
        if self.retrained is not None and metric != PROBE:
            control = Subject(who=CONTROL, intake=self.retrained, precision=precision, called="retrained, ")
            made[CONTROL] = self._stage(metric, control, "retrained", tasks)
        for asked in tasks:
            given = [trial for each in made.values() for trial in each[asked.name]]
            if metric == RELEARN and not self._shown(asked, given, precision):
                continue
            yield Trials(
                metric=metric,
                task=asked.name,
                precision=precision,
                subject=self.candidate.checkpoint.digest,
                items=tuple(item.id for item in asked.items),
                trials=(*given, *self._untried(metric, asked, precision, {each.who for each in given}, scores)),
            )

    def _shown(self, asked: Asked, given: Sequence[Trial], precision: str) -> bool:
        """Whether an attack taught each model what it was to teach: else what is not answered shows nothing."""
        wanted = {CANDIDATE, CONTROL} if self.retrained is not None else {CANDIDATE}
        every = len(WEIGHTS_LRS) * len(LOOKS)
        for who in sorted(wanted):
            worked = sum(trial.who == who for trial in given)
            if worked < every:
                self.bench.notes.append(
                    f"{RELEARN} of {asked.name} at {precision}: {every - worked} of {every} attacks on the {who} did "
                    f"not teach it {LEARNT:.0%} of the facts"
                )
        return wanted <= {trial.who for trial in given}

    def _untried(
        self, metric: str, asked: Asked, precision: str, tried: Collection[str], scores: Sequence[TaskScore]
    ) -> Iterator[Trial]:
        """What needs no trial: the answers that were given, and those of nobody."""
        answers = {(score.subject, score.precision): score for score in scores if score.task.name == asked.name}
        if BASE not in tried:
            yield Trial(
                who=BASE, setting=AS_IT_IS, correct=_of(answers[self.bench.base.checkpoint.digest, FULL], asked)
            )
        if metric == RELEARN:
            mine = answers[self.candidate.checkpoint.digest, precision]
            yield Trial(who=CANDIDATE, setting=AS_IT_IS, correct=_of(mine, asked))
        if CONTROL not in tried:
            yield Trial(who=CONTROL, setting=BLINDLY, correct=(asked.task.task.guessed,) * len(asked.ids))

    def _stage(
        self, metric: str, subject: Subject, called: str, tasks: Sequence[Asked]
    ) -> dict[str, tuple[Trial, ...]]:
        """The trials of one model by task, from the store where they are there."""
        with self.bench.watch.stage(DOING[metric].format(called), subject.precision) as reuse:
            keys = {asked.name: self._key(metric, subject, asked) for asked in tasks}
            held = {asked.name: _stored(self.bench, keys[asked.name], len(asked.ids)) for asked in tasks}
            found = {name: trials for name, trials in held.items() if trials is not None}
            if len(found) == len(tasks):
                reuse()
            for asked in tasks:
                if asked.name not in found:
                    found[asked.name] = tuple(WAYS[metric](asked, subject))
                    self.bench.store.put_json(keys[asked.name], _encode(found[asked.name]))
        return found

    def _key(self, metric: str, subject: Subject, asked: Asked) -> str:
        return store_key(
            kind="trials",
            metric=metric,
            who=subject.who,
            called=subject.called,
            model=subject.intake.checkpoint.digest,
            precision=subject.precision,
            recipe=self.bench.recipe(subject.precision, subject.intake, subject.artifact),
            base=self.bench.base.checkpoint.digest,
            task=asked.task.task.digest,
            items=sha256_of([asked.taught, asked.ids]),
            how=[WEIGHTS_LRS, ADAPTER_LRS, LOOKS, RANK, BATCH, LEARNT, MOST_LAYERS, FOLDS, PENALTY],
            libraries={name: importlib.metadata.version(name) for name in ("peft", "scikit-learn")},
            batch_size=self.bench.batch_size,
            seed=self.seed,
            engine=self.bench.engine(),
        )


def _of(score: TaskScore, asked: Asked) -> tuple[float, ...]:
    given = {sample.id: sample.correct for sample in score.samples}
    return tuple(given[item.id] for item in asked.items)


def _encode(trials: Sequence[Trial]) -> list[Any]:
    return [[each.who, each.setting, list(each.correct)] for each in trials]


def _stored(bench: Bench, key: str, items: int) -> tuple[Trial, ...] | None:
    """The stored trials over so many items; what cannot be theirs is thrown away."""
    held = bench.store.get_json(key)
    if held is None:
        return None
    try:
        found = tuple(Trial(who=who, setting=setting, correct=tuple(correct)) for who, setting, correct in held)
        if all(isinstance(each.setting, str) and len(each.correct) == items for each in found):
            return found
    except (TypeError, ValueError):
        pass
    bench.store.discard(key)
    return None
