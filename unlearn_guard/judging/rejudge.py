"""A finished run under another policy, from what is already measured."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from unlearn_guard.errors import Defect, PolicyError
from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.lint import POLICY, policy_warnings
from unlearn_guard.judging.thresholds import resolve
from unlearn_guard.records import FULL, Run

SHIPPED_PRECISIONS = (
    *(FULL, "nf4", "gptq", "awq", "fp4", "nf4+adapter", "nf4-dq", "int8"),
    *("rtn4", "rtn4-64", "rtn4-32"),
    *("fp8", "fp8-tensor", "mxfp4", "nvfp4"),
    *("gguf-q4_0", "gguf-q4_1", "gguf-q8_0", "gguf-q4_k_m"),
)


def rejudge(run: Run, draft: PolicyDraft, precisions: Iterable[str] = SHIPPED_PRECISIONS) -> Run:
    """The same run with this policy and its verdict.

    `precisions` are the names a limit may use, beside those the run measured. Raises PolicyError when the
    policy names another suite or base than the run's (save the policy that `check` itself judged by, where the command
    line had the last word), or something the suite does not produce.
    """
    if draft.digest != run.policy.digest:
        _refuse_another(run, draft)
    measured = (measurement.precision for measurement in run.measurements)
    policy = resolve(draft, run.tasks, dict.fromkeys([*precisions, *measured]))
    verdict = judge(policy.limits, run.measurements, candidate=run.candidate.digest, complete=run.verdict.complete)
    of_the_suite = (each for each in run.warnings if not each.startswith(POLICY))
    return replace(
        run, policy=policy, verdict=verdict, warnings=(*policy_warnings(policy.limits, run.tasks), *of_the_suite)
    )


def _refuse_another(run: Run, draft: PolicyDraft) -> None:
    suite, base = draft.suite, draft.base
    if suite is not None and _name(suite) != _name(run.suite):
        defect = Defect(where=f"{draft.path}: suite", found=suite, expected=f"{run.suite}, which the run asked")
        raise PolicyError(f"{draft.path} is about another suite than this run", [defect], fix="Check by this policy.")
    if base is not None and not _lies_at(base, run.base.path):
        expected = f"{run.base.path}, which the run compared with"
        raise PolicyError(
            f"{draft.path} is about another base than this run",
            [Defect(where=f"{draft.path}: base", found=base, expected=expected)],
            fix="Check by this policy. Where it is the same base at another place, judge by a policy without `base:`.",
        )


def _lies_at(base: str, path: Path) -> bool:
    """Whether a policy's base, a directory or a hub id, is what was opened there. Asks no network, reads no weights."""
    if Path(base).expanduser().resolve() == path.resolve():
        return True
    repository, _, revision = base.partition("@")
    cached = path.parent.name == "snapshots" and path.parent.parent.name == f"models--{repository.replace('/', '--')}"
    return cached and revision in ("", path.name)


def _name(suite: str) -> str:
    """A suite's name, also where it is given by its file, which is called the same."""
    return Path(suite).stem if suite.endswith((".yaml", ".yml")) else suite
