"""A finished run under another policy, from what is already measured."""

from collections.abc import Iterable
from dataclasses import replace

from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.thresholds import resolve
from unlearn_guard.records import FULL, Run

SHIPPED_PRECISIONS = (FULL, "nf4", "gptq", "awq")


def rejudge(run: Run, draft: PolicyDraft, precisions: Iterable[str] = SHIPPED_PRECISIONS) -> Run:
    """The same run with this policy and its verdict.

    `precisions` are the names a limit may use, beside those the run measured. Raises PolicyError when the
    policy names another suite than the run's, or something the suite does not produce.
    """
    measured = (measurement.precision for measurement in run.measurements)
    policy = resolve(draft, run.tasks, dict.fromkeys([*precisions, *measured]))
    verdict = judge(policy.limits, run.measurements, candidate=run.candidate.digest, complete=run.verdict.complete)
    return replace(run, policy=policy, verdict=verdict)
