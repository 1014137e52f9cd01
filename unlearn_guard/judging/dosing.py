"""What a dose of base does to the forget tasks, from the answers of the mixture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unlearn_guard.judging.derive import derive
from unlearn_guard.records import FULL, Dose, Role, TaskScore

OF_DOSE = "full-dose-"
"""How the precision begins under which the answers of a mixture are filed: `full-dose-0.1`."""


def dosed_precision(share: float) -> str:
    """What the answers of this mixture are filed under."""
    return f"{OF_DOSE}{share!r}"


def share_of(precision: str) -> float | None:
    """The share that a precision's name says; None where it is no mixture's."""
    text = precision.removeprefix(OF_DOSE)
    try:
        share = float(text)
    except ValueError:
        return None
    return share if dosed_precision(share) == precision and 0.0 < share < 1.0 else None


def doses(
    scores: Sequence[TaskScore],
    mixtures: Mapping[float, Sequence[TaskScore]],
    *,
    base: str,
    candidate: str,
    seed: int,
    retrained: str | None = None,
) -> tuple[Dose, ...]:
    """The measurements of each mixture, by share from the smallest: as if it were the candidate, in full precision.

    `scores` are the run's, of which base's (and the retrained model's) in full precision are what is compared with.
    Raises ScoringError where a mixture did not answer the items that base did.
    """
    known = [
        each
        for each in scores
        if each.subject != candidate and each.precision == FULL and each.task.role is Role.FORGET
    ]
    return tuple(
        Dose(
            share=share,
            measurements=tuple(
                each
                for each in derive(
                    [*known, *map(_in_full, mixtures[share])],
                    base=base,
                    candidate=candidate,
                    seed=seed,
                    retrained=retrained,
                )
                if each.subject == candidate and each.metric != "truncated"
            ),
        )
        for share in sorted(mixtures)
    )


def _in_full(score: TaskScore) -> TaskScore:
    return replace(score, precision=FULL, measurement=replace(score.measurement, precision=FULL))
