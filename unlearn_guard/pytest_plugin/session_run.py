"""The run that a pytest session is about, and which limits of it the session has asked.

A limit counts as asked when its item ran, whatever marks, plug-ins or reports made of it; the verdict is drawn from
the run directory, never from reports. So what was deselected, skipped, only collected or expected to fail is known.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from unlearn_guard.records import Check, Run

UNJUDGED = (
    "a run was given, but nothing judges it: name a policy file, as in `pytest thresholds.yaml`, "
    "or use the unlearn_run fixture"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why a session may not end with 0: the status to end with, and what is to be said.

    `partial`: --unlearn-partial lifts the status, as the user knows that not all was asked.
    """

    status: int
    lines: tuple[str, ...]
    partial: bool


@dataclass(slots=True)
class SessionRun:
    """The run directory, the limits asked of it by policy file, and whether tests of the user's own take the run.

    With xdist each worker fills one; the controller adds them up.
    """

    directory: Path
    asked: dict[str, set[str]] = field(default_factory=dict)
    by_tests: bool = False
    _runs: dict[str | None, "Run"] = field(default_factory=dict)

    def judged(self, policy: Path | None = None) -> "Run":
        """The run by a policy file, or by its own policy; read once. Raises GuardError."""
        from unlearn_guard.judging.rejudge import rejudge
        from unlearn_guard.judging.thresholds import read_policy
        from unlearn_guard.registry import precisions
        from unlearn_guard.reopening.run import read_run

        key = None if policy is None else _key(policy)
        if key not in self._runs:
            if policy is None:
                self._runs[key] = read_run(self.directory)
            else:
                draft = read_policy(policy)
                self._runs[key] = rejudge(read_run(self.directory, by=draft), draft, precisions())
        return self._runs[key]

    def add(self, policy: Path, *limits: str) -> None:
        """Note that a policy is asked, and which of its limits were."""
        self.asked.setdefault(_key(policy), set()).update(limits)

    def packed(self) -> dict[str, Any]:
        """What a worker hands to the controller."""
        return {"asked": {name: sorted(limits) for name, limits in self.asked.items()}, "by_tests": self.by_tests}

    def merge(self, packed: dict[str, Any]) -> None:
        """Add what a worker handed over."""
        for name, limits in packed["asked"].items():
            self.add(Path(name), *limits)
        self.by_tests |= packed["by_tests"]

    def shortfalls(self) -> Iterator[Shortfall]:
        """Each reason that this session is no pass. Raises GuardError where run or policy cannot be read."""
        if not self.asked and not self.by_tests:
            yield Shortfall(status=pytest.ExitCode.USAGE_ERROR, lines=(UNJUDGED,), partial=False)
        elif not self.asked:
            yield from _own(self.judged())
        for name, limits in self.asked.items():
            yield from _of(Path(name), self.judged(Path(name)), limits)


SESSION_RUN = pytest.StashKey[SessionRun]()


def _key(policy: Path) -> str:
    return os.path.realpath(policy)


def _own(run: "Run") -> Iterator[Shortfall]:
    """Tests took the run, and no policy file was asked: then its own policy counts."""
    from unlearn_guard.judging.gate import exit_status

    if run.verdict.passed:
        return
    first = f"the run is not passed by its own policy, whatever the tests that use it ask: {run.verdict.word}"
    lines = (first, *_lines(check for check in run.verdict.checks if not _held(check, run)))
    yield Shortfall(status=exit_status(run.verdict), lines=lines, partial=True)


def _of(policy: Path, run: "Run", asked: set[str]) -> Iterator[Shortfall]:
    """What a policy's limits came to: asked and not held, or never asked."""
    from unlearn_guard.errors import ExitStatus

    checks = run.verdict.checks
    broken = [check for check in checks if check.id in asked and not _held(check, run)]
    left = [check for check in checks if check.id not in asked]
    if broken:
        first = f"{policy.name}: {len(broken)} of {len(checks)} limits were asked and did not hold"
        yield Shortfall(status=pytest.ExitCode.TESTS_FAILED, lines=(first, *_lines(broken)), partial=False)
    if left:
        first = f"{policy.name}: {len(left)} of {len(checks)} limits were not asked; in the run they are"
        yield Shortfall(status=ExitStatus.NOT_ESTABLISHED, lines=(first, *_lines(left)), partial=True)


def _held(check: "Check", run: "Run") -> bool:
    from unlearn_guard.records import Outcome

    return check.outcome is Outcome.PASSED and run.verdict.complete


def _lines(checks: "Iterator[Check] | list[Check]") -> Iterator[str]:
    from unlearn_guard.reports import wording

    return (f"  {wording.plain(check.id)}: {wording.outcome(check)}" for check in checks)
