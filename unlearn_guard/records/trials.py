"""Ways of having what was forgotten out of a model, and what each of them brought, item by item."""

from dataclasses import dataclass

BASE, CANDIDATE, CONTROL = "base", "candidate", "control"
"""Whose trials there are: the model before unlearning, the one that is judged, and one that never knew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way on one model: `setting` says which (`layer 3`, `lr 0.001, 5 steps`), `correct` each item's share."""

    who: str
    setting: str
    correct: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.who not in (BASE, CANDIDATE, CONTROL):
            raise ValueError(f"trials of {self.who!r}")
        if not all(0.0 <= share <= 1.0 for share in self.correct):
            raise ValueError(f"{self.who}, {self.setting}: a share outside [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """All trials behind one measurement of `subject`. Every one answers the same items, in this order."""

    metric: str
    task: str
    precision: str
    subject: str
    items: tuple[str, ...]
    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        if len(set(self.items)) != len(self.items) or len(self.items) < 2:
            raise ValueError(f"{self.metric} of {self.task}: {len(self.items)} items, or one of them twice")
        named = [(each.who, each.setting) for each in self.trials]
        if len(set(named)) != len(named) or {who for who, _ in named} != {BASE, CANDIDATE, CONTROL}:
            raise ValueError(f"{self.metric} of {self.task}: trials of {sorted(set(named))}")
        if any(len(each.correct) != len(self.items) for each in self.trials):
            raise ValueError(f"{self.metric} of {self.task}: a trial that does not answer every item")

    def of(self, who: str) -> tuple[Trial, ...]:
        """Those of one model, in the order made."""
        return tuple(each for each in self.trials if each.who == who)
