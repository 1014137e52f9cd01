"""A finished run under another policy, from what is already measured."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from unlearn_guard.errors import Defect, PolicyError
from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.thresholds import resolve
from unlearn_guard.records import FULL, Run

SHIPPED_PRECISIONS = (FULL, "nf4", "gptq", "awq")


def rejudge(run: Run, draft: PolicyDraft, precisions: Iterable[str] = SHIPPED_PRECISIONS) -> Run:
    """The same run with this policy and its verdict.

    `precisions` are the names a limit may use, beside those the run measured. Raises PolicyError when the
    policy names another suite than the run's (save the policy that `check` itself judged by, where the command line
    had the last word), or something the suite does not produce.
    """
    if draft.suite is not None and _name(draft.suite) != _name(run.suite) and draft.digest != run.policy.digest:
        defect = Defect(where=f"{draft.path}: suite", found=draft.suite, expected=f"{run.suite}, which the run asked")
        raise PolicyError(f"{draft.path} is about another suite than this run", [defect], fix="Check by this policy.")
    measured = (measurement.precision for measurement in run.measurements)
    policy = resolve(draft, run.tasks, dict.fromkeys([*precisions, *measured]))
    verdict = judge(policy.limits, run.measurements, candidate=run.candidate.digest, complete=run.verdict.complete)
    return replace(run, policy=policy, verdict=verdict)


def _name(suite: str) -> str:
    """A suite's name, also where it is given by its file, which is called the same."""
    return Path(suite).stem if suite.endswith((".yaml", ".yml")) else suite
