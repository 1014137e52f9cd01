"""What is asked of a suite and what there is to say of it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.records import Measurement, Task
from unlearn_guard.scoring.suites import Suite

if TYPE_CHECKING:
    from unlearn_guard.checking.usable_pairs import UsablePairs


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCheck:
    """One `suite check` as the user asked for it."""

    name: str
    base: str | None = None
    tasks_dirs: tuple[Path, ...] = ()
    data_dir: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFindings:
    """One task: how many right answers have each letter, where its choices have; and the smallest gap that it can tell.

    `gap` is None where not even a change of all items is told, and where answers are not `counted` right or wrong.
    """

    task: Task
    letters: Mapping[str, int] | None
    counted: bool
    gap: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A question as a model is asked it: the prompt, what may follow, and which of that is right."""

    task: str
    prompt: str
    choices: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFindings:
    """What only a base can tell: the tokens of each question shown, usable pairs, and what it scores."""

    tokens: tuple[tuple[str, ...], ...]
    pairs: "tuple[UsablePairs, ...]"
    scores: Mapping[str, Measurement]
    known: tuple[str, ...]
    defects: tuple[Defect, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFindings:
    """All of it. `unmeasured` are the metrics that this suite does not give, each with what is missing."""

    suite: Suite
    tasks: tuple[TaskFindings, ...]
    shown: tuple[Shown, ...]
    unmeasured: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = ()
    base: BaseFindings | None = field(default=None)


def defects_of(error: SuiteError, where: str) -> tuple[Defect, ...]:
    """An error's defects; its summary as one where it has none."""
    told = Defect(where=where, found=error.summary, expected="what can be used", fix=error.fix)
    return error.defects or (told,)
