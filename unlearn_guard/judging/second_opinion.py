"""What the other of the two shipped policies says of the same measurements: `paper` beside `release`, and the reverse.

It decides nothing. A limit on something that this run did not measure is not established, and says what is missing.
"""

from dataclasses import dataclass

from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.rejudge import SHIPPED_PRECISIONS
from unlearn_guard.judging.thresholds import DEFAULT, read_policy, resolve
from unlearn_guard.records import Outcome, Run, Verdict

RELEASE = "release"
"""The policy for a real release, which asks intervals; `paper` compares points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """The policy's name and its verdict; None where it does not fit the suite, and `misfit` says why."""

    policy: str
    verdict: Verdict | None
    misfit: str = ""

    def ids(self, outcome: Outcome) -> tuple[str, ...]:
        """The limits that came out so, in the policy's order."""
        checks = self.verdict.checks if self.verdict is not None else ()
        return tuple(check.id for check in checks if check.outcome is outcome)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """What was not measured, each once: metrics, and precisions at which nothing was."""
        checks = self.verdict.checks if self.verdict is not None else ()
        asked = {check.limit.precision for check in checks if check.outcome is not Outcome.UNMEASURED}
        missing = [check.limit for check in checks if check.outcome is Outcome.UNMEASURED]
        metrics = dict.fromkeys(limit.metric for limit in missing if limit.precision in asked)
        return (*metrics, *dict.fromkeys(limit.precision for limit in missing if limit.precision not in asked))


def second_opinion(run: Run) -> SecondOpinion:
    """By `paper` where the run was judged by `release`, else by `release`."""
    name = DEFAULT if run.policy.digest == read_policy(RELEASE).digest else RELEASE
    precisions = dict.fromkeys([*SHIPPED_PRECISIONS, *(each.precision for each in run.measurements)])
    try:
        limits = resolve(read_policy(name), run.tasks, precisions).limits
    except PolicyError as error:
        return SecondOpinion(policy=name, verdict=None, misfit=error.defects[0].found if error.defects else str(error))
    verdict = judge(limits, run.measurements, candidate=run.candidate.digest, complete=run.verdict.complete)
    return SecondOpinion(policy=name, verdict=verdict)
