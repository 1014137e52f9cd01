"""What a calibrated format makes of a forget task, from several calibrations: the one that counts, and the others."""

from collections.abc import Mapping
from dataclasses import dataclass

ON = "-on-"
"""Between a precision and a calibration, in the name that answers are filed under: `gptq-on-forget-64`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One forget task at one calibrated precision. `scores` are the candidate's by calibration, in the order tried.

    `worst` is the one whose score is the run's at this precision: the largest, of equals the first tried.

    Raises ValueError where another one's is larger.
    """

    precision: str
    task: str
    worst: str
    scores: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.worst not in self.scores or self.scores[self.worst] < max(self.scores.values()):
            raise ValueError(f"{self.task} at {self.precision}: {self.worst!r} is not the calibration of most score")

    @property
    def spread(self) -> float:
        """How much the choice moves the score: the largest less the smallest."""
        return max(self.scores.values()) - min(self.scores.values())

    @property
    def others(self) -> tuple[str, ...]:
        """The calibrations that do not count."""
        return tuple(name for name in self.scores if name != self.worst)

    def label(self, calibration: str) -> str:
        """What the answers of one that does not count are filed under, in place of the precision."""
        return f"{self.precision}{ON}{calibration}"
