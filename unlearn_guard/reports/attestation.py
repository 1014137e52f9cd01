"""A statement one can sign: these files were judged by this policy in this run, with this result.

An in-toto statement with a test-result predicate. Its subjects are the candidate's files by sha256, as
`model_signing` lists them. A limit that was never measured or is inconclusive is a failed test, never a
warned one: readers of statements let warnings pass. The annotations list it once more, under `unmeasured` or
`inconclusive`. Warned are limits that hold in a run that asked only part of the items.

Source: in-toto attestation framework, Statement v1 and test-result predicate v0.1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard import __version__
from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.records import Outcome, Run
from unlearn_guard.reports import wording
from unlearn_guard.reports.evidence import Evidence

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Word = Literal["passed", "failed", "incomplete"]


def statement(evidence: Evidence, files: Mapping[str, str], *, made: str | None = None) -> dict[str, Any]:
    """The statement; `files` are the candidate's files by name with their sha256 in hexadecimal, `made` when: now."""
    run = evidence.run
    tests = {kind: [wording.plain(name) for name in _tests(run, kind)] for kind in ("passed", "warned", "failed")}
    about = {
        "unlearn-guard": __version__,
        "verdict": run.verdict.word,
        "suite": wording.short(run.suite),
        "candidate": run.candidate.digest,
        "base": run.base.digest,
        **({"adapter": run.candidate.adapter.digest} if run.candidate.adapter else {}),
        "started": run.started,
        "made": made or datetime.now(UTC).isoformat(timespec="seconds"),
        "unmeasured": _named(run, Outcome.UNMEASURED),
        "inconclusive": _named(run, Outcome.INCONCLUSIVE),
        "warnings": [wording.plain(warning) for warning in run.warnings],
        "artifacts": [_artifact(run, precision) for precision in sorted(run.artifacts)],
    }
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "PASSED" if run.verdict.passed else "FAILED",
            "configuration": [
                {"name": "run.json", "digest": _digest(evidence.digest), "annotations": about},
                {"name": wording.plain(run.policy.path), "digest": _digest(run.policy.digest)},
            ],
            "passedTests": tests["passed"],
            "warnedTests": tests["warned"],
            "failedTests": tests["failed"],
        },
    }


def _artifact(run: Run, precision: str) -> dict[str, Any]:
    """A ready-made quantized model that was judged: its files, and how much of it is shown to be the candidate."""
    found = (each for each in run.measurements if each.metric == "lineage" and each.precision == precision)
    made = run.artifacts[precision]
    share = next((each.value for each in found if each.subject == run.candidate.digest), None)
    return {
        "precision": wording.plain(precision),
        "digest": made.digest,
        "lineage": share,
        "files": dict(sorted(made.files.items())),
    }


def _tests(run: Run, kind: str) -> Iterator[str]:
    held = "passed" if run.verdict.complete else "warned"
    for check in run.verdict.checks:
        if kind == (held if check.outcome is Outcome.PASSED else "failed"):
            yield check.id


def _named(run: Run, outcome: Outcome) -> list[str]:
    return [wording.plain(check.id) for check in run.verdict.checks if check.outcome is outcome]


def _digest(text: str) -> dict[str, str]:
    return {"sha256": text.removeprefix("sha256:")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedArtifact:
    """A ready-made quantized model that was judged at `precision`; `lineage` is None where nothing was shown."""

    precision: str
    digest: str
    lineage: float | None
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a statement says: the verdict, the digests of run and policy, the files by name, and each limit.

    `failed` are all that did not hold; of these `unmeasured` and `inconclusive` were not broken. `warned` hold in a
    run that asked part of the items. `held_at` is the precision of the artifact that was asked about; None: the
    candidate. `warnings` are what the run was told about its policy and suite. `started` is
    when the run began, `made` when the statement was, None in one of an earlier version; by its maker's word. Of an
    `adapter`, its digest: the files are judged on the `base` of this digest and on no other.
    """

    verdict: _Word
    run: str
    policy: str
    files: Mapping[str, str]
    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]
    unmeasured: tuple[str, ...]
    inconclusive: tuple[str, ...]
    warnings: tuple[str, ...]
    started: str
    made: str | None
    version: str
    base: str
    adapter: str | None
    artifacts: tuple[ClaimedArtifact, ...] = ()
    held_at: str | None = None


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Digest(_Model):
    sha256: Sha256


class _Subject(_Model):
    name: Annotated[str, Field(min_length=1)]
    digest: _Digest


class _Artifact(_Model):
    precision: str
    digest: str
    lineage: Annotated[float, Field(ge=0, le=1)] | None
    files: dict[str, Sha256]


class _Annotations(_Model):
    verdict: _Word
    unmeasured: tuple[str, ...]
    inconclusive: tuple[str, ...]
    warnings: tuple[str, ...]
    started: str = ""
    made: str | None = None
    artifacts: tuple[_Artifact, ...] = ()
    version: Annotated[str, Field(alias="unlearn-guard")] = ""
    base: str = ""
    adapter: str | None = None


class _Configuration(_Subject):
    annotations: _Annotations | None = None


class _Predicate(_Model):
    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: Annotated[tuple[_Configuration, ...], Field(min_length=2, max_length=2)]
    passedTests: tuple[str, ...]  # noqa: N815 - the predicate's own name
    warnedTests: tuple[str, ...]  # noqa: N815
    failedTests: tuple[str, ...]  # noqa: N815


class _Statement(_Model):
    type_: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1)]
    predicateType: Literal["https://in-toto.io/attestation/test-result/v0.1"]  # noqa: N815
    predicate: _Predicate


def read_statement(data: bytes, name: str) -> Claim:
    """What the statement in `data` says. Raises UsageError with each field that is not as `attest` writes it.

    `data` must be JSON without duplicate keys. A result that its own lists contradict is refused.
    """
    try:
        held = _Statement.model_validate_json(data)
    except ValidationError as error:
        raise _refused(name, [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]) from error
    predicate, (run, policy) = held.predicate, held.predicate.configuration
    files = {each.name: each.digest.sha256 for each in held.subject}
    problems = []
    if len(files) != len(held.subject):
        problems.append(("subject", "a file twice"))
    if (about := run.annotations) is None or run.name != "run.json":
        raise _refused(name, [*problems, ("predicate.configuration", "no run.json with its verdict first")])
    if problems := [*problems, *_contradictions(predicate, about)]:
        raise _refused(name, problems)
    return Claim(
        verdict=about.verdict,
        run=run.digest.sha256,
        policy=policy.digest.sha256,
        files=files,
        passed=predicate.passedTests,
        warned=predicate.warnedTests,
        failed=predicate.failedTests,
        unmeasured=about.unmeasured,
        inconclusive=about.inconclusive,
        warnings=about.warnings,
        started=about.started,
        made=about.made,
        version=about.version,
        artifacts=tuple(ClaimedArtifact(**dict(each)) for each in about.artifacts),
        base=about.base,
        adapter=about.adapter,
    )


def _contradictions(predicate: _Predicate, about: _Annotations) -> Iterator[tuple[str, str]]:
    """Where result, verdict, lists and annotations cannot all be true of one run."""
    passed, warned, failed = predicate.passedTests, predicate.warnedTests, predicate.failedTests
    tests, unproven = [*passed, *warned, *failed], [*about.unmeasured, *about.inconclusive]
    clean = bool(passed) and not warned and not failed
    if (predicate.result == "PASSED") != clean or clean != (about.verdict == "passed"):
        yield "predicate.result", f"{predicate.result}, which its tests or verdict contradict"
    if len(set(tests)) != len(tests) or (passed and warned):
        yield "predicate", "a test twice, or tests of a whole run and of a part of one"
    if len(set(unproven)) != len(unproven) or not {*unproven} <= {*failed}:
        yield "predicate.configuration.0.annotations", "a limit not measured or inconclusive that is no failed test"
    elif (about.verdict == "failed") != bool({*failed} - {*unproven}):
        yield "predicate.configuration.0.annotations.verdict", f"{about.verdict}, which the limits contradict"


def _refused(name: str, problems: list[tuple[str, str]]) -> UsageError:
    return UsageError(
        f"{name} is not a statement that `attest` wrote",
        [
            Defect(where=where, found=what, expected="an in-toto test result of unlearn-guard")
            for where, what in problems
        ],
    )
