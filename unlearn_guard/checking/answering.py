"""Whose answers to which tasks a run needs."""

from collections.abc import Mapping, Sequence

from unlearn_guard.checking.bench import Bench
from unlearn_guard.intake import Intake
from unlearn_guard.records import FULL, Role, TaskScore


def retrained_scores(bench: Bench, retrained: Intake | None) -> tuple[TaskScore, ...]:
    """Its answers in full precision to what is compared with it: the probes, and what is scored without knowing."""
    if retrained is None:
        return ()
    asked = tuple(task for task in bench.rendered.records if task.role is not Role.RETAIN)
    return bench.score("retrained", retrained, FULL, asked)


def all_scores(
    bench: Bench, precisions: Sequence[str], base: Intake, candidate: Intake, artifacts: Mapping[str, Intake]
) -> tuple[TaskScore, ...]:
    """Every answer the policy may need: base at a quantized precision is asked its retain tasks only.

    `retain_drop` compares both models quantized; forgetting and gaps are measured against what the
    full-precision models know.
    """
    everything = bench.rendered.records
    retained = tuple(task for task in everything if task.role is Role.RETAIN)
    scores: list[TaskScore] = []
    for precision in precisions:
        scores += bench.score("base", base, precision, everything if precision == FULL else retained)
        scores += bench.score("candidate", candidate, precision, everything, artifacts.get(precision))
    return tuple(scores)
