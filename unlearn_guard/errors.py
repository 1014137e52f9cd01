"""Every way the guard says no, and the exit status that goes with it.

    GuardError
    ├── UsageError                 4: the user can mend it
    │   ├── CheckpointError           a model directory that must not be judged
    │   ├── PolicyError               thresholds.yaml
    │   ├── SuiteError                a suite, a task, or its data
    │   ├── PluginError               a method or quantizer that cannot be had
    │   └── RunDirectoryError         a run directory that is not one, or was edited
    │       ├── TakenError               one that another process is writing to
    │       └── AnotherRunError          one that holds another's finished run
    └── MeasurementError           3: the measuring itself failed
        ├── NonFiniteError            NaN or Inf where a score should be
        ├── QuantizationError         a quantizer failed, fell back, or skipped a layer
        ├── ScoringError              lm-eval or the model broke a promise
        └── StorageError              disk full, read-only, or a half-written file

A broken limit (1) and a limit that was never established (5) are verdicts, not errors; 2 is the
user's own interrupt. Only 0 ever means "release".
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar


class ExitStatus(IntEnum):
    """What a shell sees; the numbers follow pytest's."""

    PASSED = 0
    FAILED = 1
    INTERRUPTED = 2
    MEASURING_FAILED = 3
    USAGE = 4
    NOT_ESTABLISHED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One thing wrong with an input: where, what was found, what was expected, what to do."""

    where: str
    found: str
    expected: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: found {self.found}; expected {self.expected}"
        return f"{text}. {self.fix}" if self.fix else text


def near(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known names, or all of them where there are few; empty where there is none."""
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, n=2)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}." if 0 < len(names) <= 24 else ""


class GuardError(Exception):
    """Base of all; `exit_status` is what the command line returns."""

    exit_status: ExitStatus = ExitStatus.MEASURING_FAILED

    def __init__(self, summary: str, defects: Iterable[Defect] = (), *, fix: str = "") -> None:
        self.summary = summary
        self.defects = tuple(defects)
        self.fix = fix
        super().__init__(summary)

    def __str__(self) -> str:
        lines = [self.summary, *(f"  - {defect}" for defect in self.defects)]
        return "\n".join([*lines, self.fix] if self.fix else lines)


class UsageError(GuardError):
    """The input is at fault, and the message says how to mend it."""

    exit_status = ExitStatus.USAGE


class CheckpointError(UsageError):
    """A directory that is not a model the guard may judge."""


class PolicyError(UsageError):
    """A thresholds file that does not say, unmistakably, what is to hold."""


class SuiteError(UsageError):
    """A suite or task that cannot be rendered, or whose data is missing."""


class PluginError(UsageError):
    """A plug-in that is unknown, broken, or whose library is not installed."""


class RunDirectoryError(UsageError):
    """A run directory that cannot be read as one."""


class TakenError(RunDirectoryError):
    """A run directory that another process is writing to: sound, and not ours now."""


class AnotherRunError(RunDirectoryError):
    """A run directory that holds the finished run of another candidate, base, suite or policy."""


class MeasurementError(GuardError):
    """The measuring failed: there is no number, so there is no verdict."""


class NonFiniteError(MeasurementError):
    """A NaN or an infinity where a score should be. Never a score of zero."""


class QuantizationError(MeasurementError):
    """What came out of a quantizer is not what was asked for."""


class ScoringError(MeasurementError):
    """Scores that are incomplete, misaligned, or of the wrong shape."""


class StorageError(MeasurementError):
    """The disk would not take, or give back, what was written."""


T = TypeVar("T")


def needed(value: T | None, what: str) -> T:
    """`value`, which is there unless this program is at fault; MeasurementError says then that `what` is missing."""
    if value is None:
        raise MeasurementError(f"a fault of unlearn-guard: {what} is missing")
    return value
