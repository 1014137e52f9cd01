"""GPTQ and AWQ from several calibrations: whoever quantizes a released model chooses, so the worst choice counts.

The forget tasks are asked of the candidate quantized on the suite's own texts, on what should stay, on the forget
questions without and with their answers, and on the last in other groups. Each task's score at the precision is that
of the calibration that brings most back; the others' answers are kept beside it. What is asked of retention and of the
circuit is asked on the suite's own texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unlearn_guard.checking.bench import Bench
from unlearn_guard.intake import Intake
from unlearn_guard.judging.calibrated import calibrated, spread
from unlearn_guard.quantizers.coverage import linear_shapes
from unlearn_guard.quantizers.protocol import SHORTEST, Calibration
from unlearn_guard.records import Calibrated, Measurement, Role, TaskScore
from unlearn_guard.registry import quantizer
from unlearn_guard.scoring.calibration_choices import CHOICES, choice_texts

SUITE, WORST = "suite", "worst"
"""What `--calibration` takes: the suite's own texts, or the worst of all choices."""


@dataclass(kw_only=True)
class WorstCalibration:
    """Measures one candidate; does nothing where `asked` is not `worst`."""

    bench: Bench
    candidate: Intake
    asked: str
    found: list[Calibrated] = field(default_factory=list)
    scores: list[TaskScore] = field(default_factory=list)
    """The answers that do not count, at precisions such as `gptq-on-retain`: they belong into the run directory."""

    def stages(self, precisions: Sequence[str], artifacts: Mapping[str, Intake]) -> int:
        """How many steps a progress bar has to plan."""
        return sum(len(self._choices(each)) for each in self._calibrated(precisions, artifacts))

    def measure(
        self, precisions: Sequence[str], artifacts: Mapping[str, Intake], scores: Sequence[TaskScore]
    ) -> tuple[tuple[TaskScore, ...], tuple[Measurement, ...]]:
        """The run's scores with the worst calibration's in their places, and how much the choice moves each."""
        mine = {
            (each.task.name, each.precision): each
            for each in scores
            if each.subject == self.candidate.checkpoint.digest and each.task.role is Role.FORGET
        }
        spreads = []
        chosen = self._calibrated(precisions, artifacts)
        if self.asked == WORST and not chosen:
            self.bench.notes.append(
                "calibration: no precision of this run is calibrated by the guard, so none is worst"
            )
        for precision in chosen:
            tried = {task: {SUITE: score} for (task, at), score in mine.items() if at == precision}
            for name, score in self._ask(precision, [score.task.name for score in mine.values()]):
                tried[score.task.name][name] = score
            for task, by_name in tried.items():
                found = calibrated(by_name)
                mine[task, precision] = by_name[found.worst]
                self._keep(found, by_name)
                spreads.append(spread(found, by_name[found.worst]))
        worst = tuple(
            mine.get((each.task.name, each.precision), each)
            if each.subject == self.candidate.checkpoint.digest
            else each
            for each in scores
        )
        return worst, tuple(spreads)

    def _keep(self, found: Calibrated, tried: Mapping[str, TaskScore]) -> None:
        self.found.append(found)
        for name in found.others:
            label, score = found.label(name), tried[name]
            self.scores.append(replace(score, precision=label, measurement=replace(score.measurement, precision=label)))
        self.bench.notes.append(
            f"{found.task} at {found.precision}: of {len(found.scores)} calibrations {found.worst!r} brings most back, "
            f"and counts; the choice moves the score by {found.spread:.3f} "
            f"({', '.join(f'{name} {score:.3f}' for name, score in found.scores.items())})"
        )

    def _calibrated(self, precisions: Sequence[str], artifacts: Mapping[str, Intake]) -> list[str]:
        """Not those of a ready-made model, whose maker has chosen."""
        if self.asked != WORST:
            return []
        return [each for each in precisions if quantizer(each).calibrated and each not in artifacts]

    def _choices(self, precision: str) -> list[tuple[str, str, int | None]]:
        """(name, texts, group size): the forget text itself in every group, the others in the format's own."""
        shapes = linear_shapes(self.candidate.checkpoint.path)
        sizes = getattr(quantizer(precision), "groups", ())
        fitting = [size for size in sizes if all(width % size == 0 for _, width in shapes.values())]
        more = [(f"forget-{size}", "forget", size) for size in fitting[1:]]
        return [*((name, name, None) for name in CHOICES), *more]

    def _ask(self, precision: str, names: Sequence[str]) -> Iterator[tuple[str, TaskScore]]:
        tasks = [each for each in self.bench.rendered.records if each.name in names]
        for name, source, group in self._choices(precision):
            bench = replace(self.bench, calibration=Calibration(texts=self._texts(source), group=group))
            for score in bench.score(f"candidate on {name}", self.candidate, precision, tasks):
                yield name, score

    def _texts(self, source: str) -> tuple[str, ...]:
        rendered, tokenizer = self.bench.rendered, self.bench.tokenizer
        return choice_texts(
            rendered,
            source,
            rendered.suite.calibration_samples,
            length=lambda text: len(tokenizer(text)["input_ids"]),
            shortest=SHORTEST,
        )
