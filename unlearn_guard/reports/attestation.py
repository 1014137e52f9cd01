"""A statement one can sign: these files were judged by this policy in this run, with this result.

An in-toto statement with a test-result predicate. Its subjects are the candidate's files by sha256, as
`model_signing` lists them. A limit that was never measured or is inconclusive is a failed test, never a
warned one: readers of statements let warnings pass. Warned are limits that hold in a run that asked only part
of the items.

Source: in-toto attestation framework, Statement v1 and test-result predicate v0.1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


def statement(evidence: Evidence, files: Mapping[str, str]) -> dict[str, Any]:
    """The statement; `files` are the candidate's files by name with their sha256 in hexadecimal."""
    run = evidence.run
    tests = {kind: [wording.plain(name) for name in _tests(run, kind)] for kind in ("passed", "warned", "failed")}
    about = {
        "unlearn-guard": __version__,
        "verdict": run.verdict.word,
        "suite": wording.short(run.suite),
        "candidate": run.candidate.digest,
        "base": run.base.digest,
        "started": run.started,
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


def _tests(run: Run, kind: str) -> Iterator[str]:
    held = "passed" if run.verdict.complete else "warned"
    for check in run.verdict.checks:
        if kind == (held if check.outcome is Outcome.PASSED else "failed"):
            yield check.id


def _digest(text: str) -> dict[str, str]:
    return {"sha256": text.removeprefix("sha256:")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a statement says: the verdict, the digests of run and policy, and the files by name."""

    verdict: _Word
    run: str
    policy: str
    files: Mapping[str, str]
    failed: tuple[str, ...]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Digest(_Model):
    sha256: Sha256


class _Subject(_Model):
    name: Annotated[str, Field(min_length=1)]
    digest: _Digest


class _Annotations(_Model):
    verdict: _Word


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
    run, policy = held.predicate.configuration
    files = {each.name: each.digest.sha256 for each in held.subject}
    verdict = None if run.annotations is None else run.annotations.verdict
    problems = []
    if len(files) != len(held.subject):
        problems.append(("subject", "a file twice"))
    if verdict is None or run.name != "run.json":
        problems.append(("predicate.configuration", "no run.json with its verdict first"))
    clean = bool(held.predicate.passedTests) and not held.predicate.warnedTests and not held.predicate.failedTests
    if (held.predicate.result == "PASSED") != clean or clean != (verdict == "passed"):
        problems.append(("predicate.result", f"{held.predicate.result}, which its tests or verdict contradict"))
    if problems or verdict is None:
        raise _refused(name, problems)
    return Claim(
        verdict=verdict,
        run=run.digest.sha256,
        policy=policy.digest.sha256,
        files=files,
        failed=held.predicate.failedTests,
    )


def _refused(name: str, problems: list[tuple[str, str]]) -> UsageError:
    return UsageError(
        f"{name} is not a statement that `attest` wrote",
        [
            Defect(where=where, found=what, expected="an in-toto test result of unlearn-guard")
            for where, what in problems
        ],
    )
