"""`check --doses`: the candidate with a little of base put back, asked the forget items: would this gate catch it?"""

from collections.abc import Mapping
from dataclasses import replace

from unlearn_guard.checking.bench import Bench
from unlearn_guard.intake import Intake
from unlearn_guard.judging.dosing import dosed_precision
from unlearn_guard.records import FULL, Role, TaskScore

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Of base, in each weight. Base itself would be 1, the candidate 0."""


def mixtures(bench: Bench, candidate: Intake) -> Mapping[float, tuple[TaskScore, ...]]:
    """The answers of each mixture to the forget tasks in full precision, filed under a precision of its own."""
    asked = tuple(task for task in bench.rendered.records if task.role is Role.FORGET)
    found = {}
    for share in SHARES:
        mixing = replace(bench, dose=share, notes=[])
        scores = mixing.score(f"candidate with {share:.0%} of base", candidate, FULL, asked)
        found[share] = tuple(_filed(each, dosed_precision(share)) for each in scores)
    return found


def _filed(score: TaskScore, precision: str) -> TaskScore:
    return replace(score, precision=precision, measurement=replace(score.measurement, precision=precision))
