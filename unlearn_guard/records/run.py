"""A finished check."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from unlearn_guard.records.calibrations import Calibrated
from unlearn_guard.records.doses import Dose
from unlearn_guard.records.measurement import Measurement
from unlearn_guard.records.model import Checkpoint
from unlearn_guard.records.policy import Policy
from unlearn_guard.records.task import Prompt, Task
from unlearn_guard.records.verdict import Verdict


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

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished check: what run.json holds, and all that a report may show.

    `artifacts` are the ready-made quantized models that were judged, by precision. `notes` are what happened,
    `warnings` what the policy or the suite cannot tell whatever happens (`judging.lint`). `doses` are the candidate
    with a little of base put back, where that was asked (`--doses`), `calibrations` the choices of text and group
    that calibrated formats were tried with (`--calibration worst`).
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
    artifacts: Mapping[str, Checkpoint] = field(default_factory=dict)
    doses: tuple[Dose, ...] = ()
    calibrations: tuple[Calibrated, ...] = ()
