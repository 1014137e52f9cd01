"""What an endpoint answered beside what the judged model did, task by task."""

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn_guard.records.task import Role
from unlearn_guard.records.verdict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One item in both: the judged log-likelihoods of its choices in nats, and the place of the one that was served.

    `served` is None where the endpoint's answer names no choice, so that nothing can be compared.
    """

    task: str
    role: Role
    item: str
    nats: tuple[float, ...]
    served: int | None

    @property
    def judged(self) -> int:
        """The place of the likeliest choice, the first of equals."""
        return max(range(len(self.nats)), key=lambda place: self.nats[place])


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the answers to one task, or to several, compare.

    `expected` is how many of the `compared` would differ by noise alone, `chance` the probability of at least as many
    as do, `worst` the same if all items that could not be compared differed too.
    """

    name: str
    role: Role | None
    asked: int
    compared: int
    differ: int
    expected: float
    chance: float
    worst: float
    outcome: Outcome
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A finished probe. `status` is what a shell sees; a run that did not pass is never 0.

    `left_out` are the tasks that were not asked, each with the reason; `ways` how many items were asked in which way.
    """

    run: str
    url: str
    model: str
    precision: str
    noise: float
    noise_from: str
    power: float
    tasks: tuple[Agreement, ...]
    forget: Agreement | None
    left_out: Mapping[str, str]
    ways: Mapping[str, int]
    hints: tuple[str, ...]
    outcome: Outcome
    verdict: str
    status: int
    started: str
    seconds: float
