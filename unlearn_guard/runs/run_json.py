"""run.json: a `Run` as outside programs read it, and back, with every claim in it checked again.

Keys are the contract's; more may be added, none renamed. The verdict and each check's value, margin and
outcome are written for readers and never believed: they are worked out anew from measurements and limits.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.records import (
    CORRECTED,
    Calibrated,
    Check,
    Checkpoint,
    Dose,
    Environment,
    Limit,
    Measurement,
    Policy,
    Prompt,
    Property,
    Run,
    Stage,
    Task,
    Verdict,
    certificate,
    doubt,
)

SCHEMA = "unlearn-guard.run/1"


class InvalidRunError(ValueError):
    """What is wrong with a run.json: (field, what it is) pairs."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__(str(problems))


def encode(run: Run) -> dict[str, Any]:
    """`run` as JSON values, but for the list of the files beside run.json.

    Raises ValueError when the checks are not the policy's limits, one each and in order.
    """
    if tuple(check.limit for check in run.verdict.checks) != run.policy.limits:
        raise ValueError("the verdict's checks are not the policy's limits")
    return {
        "schema": SCHEMA,
        "verdict": run.verdict.word,
        "complete": run.verdict.complete,
        "suite": run.suite,
        "policy": {key: value for key, value in asdict(run.policy).items() if key != "limits"},
        "base": _checkpoint(run.base),
        "candidate": _checkpoint(run.candidate),
        "checks": [_check(check) for check in run.verdict.checks],
        "measurements": [asdict(measurement) for measurement in run.measurements],
        "tasks": [asdict(task) for task in run.tasks],
        "stages": [asdict(stage) for stage in run.stages],
        "environment": {**asdict(run.environment), "versions": dict(run.environment.versions)},
        "started": run.started,
        "seconds": run.seconds,
        "limit": run.limit,
        "notes": list(run.notes),
        "warnings": list(run.warnings),
        "retrained": _checkpoint(run.retrained) if run.retrained is not None else None,
        "prompts": [asdict(prompt) for prompt in run.prompts],
        "artifacts": {precision: _checkpoint(each) for precision, each in sorted(run.artifacts.items())},
        "doses": [asdict(dose) for dose in run.doses],
        "calibrations": [asdict(each) for each in run.calibrations],
        "certificate": _certificate(run.doses, run.policy.limits),
    }


def _certificate(doses: tuple[Dose, ...], limits: tuple[Limit, ...]) -> dict[str, Any] | None:
    found = certificate(doses, limits)
    return None if found is None else {"share": found.share, "limits": list(found.limits), "asked": list(found.asked)}


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    made = checkpoint.adapter
    return {
        "path": str(checkpoint.path),
        "digest": checkpoint.digest,
        "precision": checkpoint.precision,
        "method": checkpoint.method,
        "files": dict(checkpoint.files),
        **({"adapter": {"digest": made.digest, "base": made.base, "peft": made.peft}} if made else {}),
    }


def _check(check: Check) -> dict[str, Any]:
    limit, measurement, interval = check.limit, check.measurement, check.interval
    left = doubt(check)
    return {
        "id": check.id,
        "property": limit.guards,
        "metric": limit.metric,
        "task": limit.task,
        "precision": limit.precision,
        "value": measurement.value if measurement else None,
        "stderr": measurement.stderr if measurement else None,
        "interval": [interval.low, interval.high] if interval else None,
        "samples": measurement.samples if measurement else None,
        "at_least": limit.at_least,
        "at_most": limit.at_most,
        "confidence": limit.confidence,
        "margin": check.margin,
        "outcome": check.outcome,
        "doubt": asdict(left) if left is not None else None,
        "because": limit.because,
        "line": limit.line,
    }


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _DoubtFile(_Model):
    bound: float
    items: int | None


class _CheckFile(_Model):
    id: str
    property: Property
    metric: str
    task: str
    precision: str
    value: float | None
    stderr: float | None
    interval: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None
    samples: int | None
    at_least: float | None
    at_most: float | None
    confidence: float | None
    margin: float | None
    outcome: str
    doubt: _DoubtFile | None = None
    because: str
    line: int | None = None


class _PolicyFile(_Model):
    path: str
    digest: str
    base: str | None = None
    suite: str | None = None
    precisions: tuple[str, ...] | None = None
    text: str = ""


class _File(_Model):
    sha256: str
    lines: int


class _RunFile(_Model):
    schema_: Annotated[Literal["unlearn-guard.run/1"], Field(alias="schema")]
    verdict: str
    complete: bool
    suite: str
    policy: _PolicyFile
    base: Checkpoint
    candidate: Checkpoint
    checks: Annotated[tuple[_CheckFile, ...], Field(min_length=1)]
    measurements: tuple[Measurement, ...]
    tasks: tuple[Task, ...]
    stages: tuple[Stage, ...]
    environment: Environment
    started: str
    seconds: float
    limit: int | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    files: dict[str, _File]
    retrained: Checkpoint | None = None
    prompts: tuple[Prompt, ...] = ()
    artifacts: dict[str, Checkpoint] = Field(default_factory=dict)
    doses: tuple[Dose, ...] = ()
    calibrations: tuple[Calibrated, ...] = ()
    certificate: dict[str, Any] | None = None


def decode(data: bytes) -> tuple[Run, dict[str, str]]:
    """The run in `data` and the sha256 of each file beside it. Raises InvalidRunError with every field at fault.

    `data` must have passed `strict_json.loads` before.
    """
    try:
        file = _RunFile.model_validate_json(data)
    except ValidationError as error:
        raise InvalidRunError([(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]) from error
    problems = _twice(file.measurements)
    limits = tuple(_limit(each, index, problems) for index, each in enumerate(file.checks))
    if problems:
        raise InvalidRunError(problems)
    known = {_key(each): each for each in file.measurements}
    subject = file.candidate.digest
    checks = tuple(
        Check(
            limit=each,
            measurement=known.get((subject, each.metric, each.task, each.precision)),
            corrected=known.get((subject, each.metric + CORRECTED, each.task, each.precision)),
        )
        for each in limits
        if each is not None
    )
    verdict = Verdict(checks=checks, complete=file.complete)
    problems = [*_differences(file.checks, checks), *_verdict_differences(file, verdict)]
    if problems:
        raise InvalidRunError(problems)
    return _run(file, verdict), {name: each.sha256 for name, each in file.files.items()}


def _run(file: _RunFile, verdict: Verdict) -> Run:
    return Run(
        suite=file.suite,
        policy=Policy(limits=tuple(check.limit for check in verdict.checks), **dict(file.policy)),
        base=file.base,
        candidate=file.candidate,
        tasks=file.tasks,
        measurements=file.measurements,
        verdict=verdict,
        stages=file.stages,
        environment=file.environment,
        started=file.started,
        seconds=file.seconds,
        limit=file.limit,
        notes=file.notes,
        warnings=file.warnings,
        retrained=file.retrained,
        prompts=file.prompts,
        artifacts=file.artifacts,
        doses=file.doses,
        calibrations=file.calibrations,
    )


def _key(measurement: Measurement) -> tuple[str, str, str, str]:
    return measurement.subject, measurement.metric, measurement.task, measurement.precision


def _twice(measurements: tuple[Measurement, ...]) -> list[tuple[str, str]]:
    keys = [_key(each) for each in measurements]
    return [(f"measurements.{i}", "a second measurement of this") for i, key in enumerate(keys) if key in keys[:i]]


def _limit(check: _CheckFile, index: int, problems: list[tuple[str, str]]) -> Limit | None:
    try:
        return Limit(
            metric=check.metric,
            task=check.task,
            precision=check.precision,
            at_least=check.at_least,
            at_most=check.at_most,
            confidence=check.confidence,
            because=check.because,
            guards=check.property,
            line=check.line,
        )
    except ValueError as error:
        problems.append((f"checks.{index}", str(error)))
        return None


def _differences(written: tuple[_CheckFile, ...], checks: tuple[Check, ...]) -> list[tuple[str, str]]:
    problems = []
    for index, (claimed, check) in enumerate(zip(written, checks, strict=True)):
        truth = _check(check)
        claims = claimed.model_dump()
        claims["interval"] = None if claimed.interval is None else list(claimed.interval)
        said = ("doubt",) if "doubt" in claimed.model_fields_set else ()  # earlier versions did not write it
        for key in ("id", "value", "stderr", "interval", "samples", "margin", "outcome", *said):
            if claims[key] != truth[key]:
                problem = f"says {claims[key]!r}, but limits and measurements say {_plain(truth[key])!r}"
                problems.append((f"checks.{index}.{key}", problem))
    return problems


def _verdict_differences(file: _RunFile, verdict: Verdict) -> list[tuple[str, str]]:
    problems = []
    if file.verdict != verdict.word:
        problems.append(("verdict", f"says {file.verdict!r}, but the checks say {verdict.word!r}"))
    if file.limit is not None and file.complete:
        problems.append(("complete", f"says true, but only {file.limit} items of each task were asked"))
    if file.candidate.adapter is not None and file.candidate.adapter.base != file.base.digest:
        problems.append(("candidate.adapter.base", f"says {file.candidate.adapter.base!r}, which is not base.digest"))
    certified = _certificate(file.doses, tuple(check.limit for check in verdict.checks))
    if file.certificate != certified:
        problems.append(("certificate", f"says {file.certificate!r}, but doses and limits say {certified!r}"))
    return problems


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
