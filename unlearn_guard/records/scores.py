"""What one model gave before anything is compared: answers, edge scores, counts of weights."""

import math
from dataclasses import dataclass

from unlearn_guard.records.measurement import Measurement
from unlearn_guard.records.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One item as one model answered it.

    `id` and `prompt` (sha256 of the rendered text) pair the same item across precisions and models.
    `correct` is the item's share of the task's metric: 0 or 1 for accuracy, a fraction for ROUGE, any number
    for a probe.
    A multiple-choice item carries the log-likelihood of each choice in nats, a generated one its text.
    """

    id: str
    prompt: str
    target: str
    correct: float
    loglikelihoods: tuple[float, ...] | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.correct):
            raise ValueError(f"item {self.id}: correctness {self.correct} is not finite")
        for value in self.loglikelihoods or ():
            if not value < math.inf:  # nor is this so of NaN
                raise ValueError(f"item {self.id}: a log-likelihood is not a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """A task's answers by one model at one precision, and the metric lm-eval aggregated from them.

    `truncated` items were longer than the model takes and lost the beginning of their prompt.
    """

    task: Task
    subject: str
    precision: str
    samples: tuple[Sample, ...]
    measurement: Measurement
    truncated: int = 0

    def __post_init__(self) -> None:
        if len(self.samples) != self.task.items:
            raise ValueError(f"{self.task.name}: {len(self.samples)} answers to {self.task.items} items")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeScores:
    """Attribution score of each edge of a model's graph, on one task's prompt pairs."""

    subject: str
    task: str
    edges: tuple[str, ...]
    scores: tuple[float, ...]
    steps: int

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.scores):
            raise ValueError(f"{len(self.edges)} edges but {len(self.scores)} scores")
        if not all(map(math.isfinite, self.scores)):
            raise ValueError("an edge score is not finite")


RATIO_OCTAVES = (-12, 4)
"""`LayerDrift.ratios` counts updates by power of two, from 2^-12 bins (and less) to 2^4 (and more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDrift:
    """How the candidate's edit of one layer sits on base's NF4 grid, as counts of weights.

    `changed` differ in value, `flipped` in their 4-bit code, `survived` in both. `ratios` counts the changed
    weights by |update| / bin width: entry k those in [2^(k-12), 2^(k-11)), the outer two also what lies beyond.
    """

    layer: str
    weights: int
    changed: int
    flipped: int
    survived: int
    ratios: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ratios) != RATIO_OCTAVES[1] - RATIO_OCTAVES[0] + 1 or sum(self.ratios) != self.changed:
            raise ValueError(f"{self.layer}: {len(self.ratios)} octaves that count {sum(self.ratios)} weights")
        if not 0 <= self.survived <= min(self.flipped, self.changed) or max(self.flipped, self.changed) > self.weights:
            raise ValueError(f"{self.layer}: more weights changed than there are")
