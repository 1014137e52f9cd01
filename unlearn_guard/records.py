"""The frozen values that flow between the stages. Nothing here computes, reads a file or imports torch.

Everything the guard learns about a model is a `Measurement`; every rule is a `Limit` on one
measurement; a `Check` puts the two together and a `Verdict` is all the checks. Constructors only
refuse what cannot be true.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

FULL = "full"
"""The precision of a checkpoint as it lies on disk; every other name is a quantizer's."""

WEIGHTS = "weights"
"""The reserved task name of measurements that look at weights, not at answers."""

CONFIDENCE_LEVELS = (0.90, 0.95, 0.99)
"""The levels at which intervals are computed while measuring, so that judging needs no samples."""

CORRECTED = "_corrected"
"""What the name of a measurement without its bias ends in, beside the one as defined: `cad`, `cad_corrected`."""

SUITE = "suite"
"""The reserved task name of measurements that several tasks of a suite make together."""

MODEL_UTILITY = "model_utility"
PRIVLEAK = "privleak"
FORGET_QUALITY = "forget_quality"
"""The measures that tasks may feed; each is also the metric's name."""


class Role(StrEnum):
    """Whether a task asks for what should be gone, for what should have stayed, or feeds a measure of its own.

    From a probe no drop or gap is derived: what its items say together is a number like `privleak`.
    """

    FORGET = "forget"
    RETAIN = "retain"
    PROBE = "probe"


class Property(StrEnum):
    """Which of the four properties a number speaks for; REPORTED stands beside them, without a default limit."""

    FORGETTING = "forgetting"
    PERMANENCE = "permanence"
    RETENTION = "retention"
    ERASURE = "erasure"
    REPORTED = "reported"


class Outcome(StrEnum):
    """What became of one limit. There is no default, and only PASSED lets a release through."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    UNMEASURED = "unmeasured"


TORCH_NAMES: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""What torch calls the dtypes of safetensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes `start` to `stop` of a file."""

    file: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One parameter by the model's own name, and where its bytes lie, in row-major order.

    `dtype` is safetensors' name. The experts of a mixture, which a checkpoint stores one by one, are the many spans
    of the one parameter that the model has.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model on disk that passed intake: a directory, and the digest of every byte that shapes its answers.

    `tensors` is the one list of its parameters, each once under the model's own name, whatever the files call them;
    empty for a directory that a quantizer wrote. `files` are the names and sha256 of the files that were judged.
    """

    path: Path
    digest: str
    precision: str = FULL
    method: str | None = None
    tensors: tuple[StoredTensor, ...] = field(default=(), compare=False, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One lm-eval task as rendered for this run: `items` questions whose texts and targets hash to `digest`.

    `measure` names the number beyond its own score that the task feeds (`privleak`, `forget_quality`,
    `model_utility`), `retrained` what a model that never saw the forget set makes of that, where it is published.
    `chance` is the score of an answer drawn blindly, `floor` that of a model that never learnt what is asked, where it
    is known to be more: a text earns ROUGE by words of the question. `likeliest`: an answer is right where the choice
    whose index is the target has the largest log-likelihood, the first of equals, so that anybody can count again.
    """

    name: str
    role: Role
    metric: str
    chance: float
    items: int
    digest: str
    measure: str | None = None
    retrained: float | None = None
    floor: float | None = None
    likeliest: bool = False

    def __post_init__(self) -> None:
        if self.items < 1:
            raise ValueError(f"task {self.name} has no items")
        if self.floor is not None and not 0.0 <= self.floor < 1.0:
            raise ValueError(f"task {self.name}: floor {self.floor} is not in [0, 1)")
        if not 0.0 <= self.chance < 1.0:
            raise ValueError(f"task {self.name}: chance {self.chance} is not in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the rows of a corpus are: a file or folder of JSON Lines or parquet, or a split of a hub dataset.

    `column` holds the text of rows that are plain texts. Of rows that are questions, `description` comes before each,
    and each is rendered `times` times with its options drawn and shuffled anew.
    """

    path: Path | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    column: str = "text"
    description: str = ""
    times: int = 1

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"dataset {self.dataset} ({self.config or self.split})"


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
        if any(math.isnan(value) or value == math.inf for value in self.loglikelihoods or ()):
            raise ValueError(f"item {self.id}: a log-likelihood is not a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval and its level, in the unit of the measurement it belongs to."""

    confidence: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"not an interval: [{self.low}, {self.high}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number learnt about one model, with its error and its count.

    Accuracies lie in [0, 1], log-likelihoods are in nats; `stderr` is a standard error. `subject` is
    the digest of the checkpoint that the number speaks of. `p_value` is the exact McNemar p where two
    sets of paired answers were compared.
    """

    subject: str
    precision: str
    task: str
    metric: str
    value: float
    samples: int
    stderr: float | None = None
    intervals: tuple[Interval, ...] = ()
    p_value: float | None = None

    def __post_init__(self) -> None:
        for name, number in (("value", self.value), ("stderr", self.stderr), ("p_value", self.p_value)):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.name}: {name} {number} is not finite")
        if self.samples < 1:
            raise ValueError(f"{self.name}: a measurement needs at least one sample")

    @property
    def name(self) -> str:
        """`metric[task-precision]`, the string a check, a pytest item and a JUnit case share."""
        return f"{self.metric}[{self.task}-{self.precision}]"

    def interval(self, confidence: float) -> Interval | None:
        """The interval at exactly this level, or None where none was computed."""
        return next((each for each in self.intervals if each.confidence == confidence), None)


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
class Prompt:
    """How a task's prompts were made: examples shown, chat template or none, and the first token ids of one of them.

    A few ids tell a missing or doubled BOS and a wrong template; they are too few to tell a question.
    """

    task: str
    few_shot: int
    chat_template: bool
    tokens: tuple[int, ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One rule: where one measurement of the candidate has to lie, and on whose word.

    Without `confidence` the point value is compared, unrounded, and the corrected one where there is one. With it the
    whole interval at that level has to lie inside. `guards` is the property the limit protects, as the policy's reader
    knows it.
    """

    metric: str
    task: str
    precision: str
    at_least: float | None = None
    at_most: float | None = None
    confidence: float | None = None
    because: str
    guards: Property = Property.REPORTED
    line: int | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not bounds or not all(map(math.isfinite, bounds)):
            raise ValueError(f"{self.id}: a limit needs at_least or at_most, both finite")
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise ValueError(f"{self.id}: at_least {bounds[0]} is above at_most {bounds[1]}")

    @property
    def id(self) -> str:
        """`metric[task-precision]`, as in `ptq_gap[organism_forget-nf4]`."""
        return f"{self.metric}[{self.task}-{self.precision}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A limit and the measurement it was held against, or None where nobody measured it.

    `corrected` is the same quantity without its bias, where that was measured too: a limit on a point passes only
    where both lie inside. With `confidence` the interval counts, which is of the corrected one already.
    """

    limit: Limit
    measurement: Measurement | None
    corrected: Measurement | None = None

    @property
    def id(self) -> str:
        """The limit's id."""
        return self.limit.id

    @property
    def interval(self) -> Interval | None:
        """The interval that the limit asks for; without `confidence`, the 95 % one that reports show."""
        return self.measurement.interval(self.limit.confidence or 0.95) if self.measurement else None

    @property
    def margin(self) -> float | None:
        """Distance from the point value to the nearest bound, in the metric's unit; negative when it is broken.

        Of a point limit it is the worse of the value's and the corrected value's. Always finite: a distance that no
        float holds is the largest one.
        """
        if self.measurement is None:
            return None
        low, high, values = self.limit.at_least, self.limit.at_most, self._points(self.measurement)
        slack = [] if low is None else [value - low for value in values]
        nearest = min(slack if high is None else [*slack, *(high - value for value in values)])
        return max(-sys.float_info.max, min(nearest, sys.float_info.max))

    @property
    def outcome(self) -> Outcome:
        """PASSED only on evidence: a missing measurement or interval, or one that straddles a bound, is not a pass."""
        if self.measurement is None:
            return Outcome.UNMEASURED
        low = -math.inf if self.limit.at_least is None else self.limit.at_least
        high = math.inf if self.limit.at_most is None else self.limit.at_most
        if self.limit.confidence is None:
            if not low <= self.measurement.value <= high:
                return Outcome.FAILED
            held = all(low <= value <= high for value in self._points(self.measurement))
            return Outcome.PASSED if held else Outcome.INCONCLUSIVE
        if self.interval is None:
            return Outcome.INCONCLUSIVE
        if low <= self.interval.low and self.interval.high <= high:
            return Outcome.PASSED
        outside = self.interval.high < low or self.interval.low > high
        return Outcome.FAILED if outside else Outcome.INCONCLUSIVE

    def _points(self, measurement: Measurement) -> list[float]:
        if self.corrected is None or self.limit.confidence is not None:
            return [measurement.value]
        return [measurement.value, self.corrected.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Every check of a policy. `complete` is False when only part of the items was asked (`--limit`)."""

    checks: tuple[Check, ...]
    complete: bool

    @property
    def passed(self) -> bool:
        """True when there is a check, every one passed, and every item was asked."""
        return self.complete and bool(self.checks) and all(check.outcome is Outcome.PASSED for check in self.checks)

    @property
    def failed(self) -> bool:
        """True when at least one limit is known to be broken."""
        return any(check.outcome is Outcome.FAILED for check in self.checks)

    @property
    def word(self) -> str:
        """`passed`, `failed` or `incomplete`, as run.json writes it."""
        return "passed" if self.passed else "failed" if self.failed else "incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy file as read: its limits by metric, task and precision, and what `check` may take from it.

    `text` is what the file holds, byte for byte, so that the limits can be had from it again.
    """

    path: str
    digest: str
    limits: tuple[Limit, ...]
    base: str | None = None
    suite: str | None = None
    precisions: tuple[str, ...] | None = None
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a run: what it took, and whether an earlier run had already done it."""

    name: str
    precision: str
    seconds: float
    cached: bool
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the numbers depend on besides the bytes: versions, device, dtype, seed, and the guard's own commit."""

    versions: Mapping[str, str]
    python: str
    platform: str
    device: str
    dtype: str
    seed: int
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished check: what run.json holds, and all that a report may show.

    `notes` are what happened, `warnings` what the policy or the suite cannot tell whatever happens (`judging.lint`).
    """

    suite: str
    policy: Policy
    base: Checkpoint
    candidate: Checkpoint
    tasks: tuple[Task, ...]
    measurements: tuple[Measurement, ...]
    verdict: Verdict
    stages: tuple[Stage, ...]
    environment: Environment
    started: str
    seconds: float
    limit: int | None = None
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())
    retrained: Checkpoint | None = None
    prompts: tuple[Prompt, ...] = ()
