"""A policy file as a test module, and each of its limits as a test item."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntry, ReprFileLocation, ReprTraceback

from unlearn_guard.pytest_plugin.session_run import SESSION_RUN

if TYPE_CHECKING:
    from unlearn_guard.records import Check, Run


_BEGINS = re.compile(rb"(?m)^limits[ \t]*:")


def reads_as_policy(file: Path) -> bool:
    """Whether a YAML file looks like a policy: other plug-ins have YAML of their own."""
    with file.open("rb") as opened:
        return file.name == "thresholds.yaml" or _BEGINS.search(opened.read(64 * 1024)) is not None


def policy_id(file: Path, root: Path) -> str:
    """A policy's node id: its path below the root, and its name alone where it lies elsewhere (pytest's is empty)."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name


class PolicyModule(pytest.File):
    """A policy file against the session's run."""

    def collect(self) -> Iterator["LimitItem"]:
        """One item for each limit, in the policy's order."""
        from unlearn_guard.errors import GuardError
        from unlearn_guard.reports.wording import plain

        try:
            run = self.config.stash[SESSION_RUN].judged(self.path)
        except GuardError as error:
            raise self.CollectError(str(error)) from error
        for check in run.verdict.checks:
            yield LimitItem.from_parent(self, name=plain(check.id), check=check, run=run)


class LimitNotHeldError(Exception):
    """A limit that did not pass; what to say is its text."""


class LimitItem(pytest.Item):
    """One limit as a test; it is named by the limit's id."""

    def __init__(self, *, check: "Check", run: "Run", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check
        self.unlearn_run = run
        limit, value = check.limit, check.measurement.value if check.measurement else None
        self.user_properties += [
            ("property", str(limit.guards)),
            ("value", value),
            ("at_least", limit.at_least),
            ("at_most", limit.at_most),
            ("margin", check.margin),
            ("outcome", str(check.outcome)),
        ]

    def runtest(self) -> None:
        """Pass only where the limit passed and every item had been asked."""
        from unlearn_guard.records import Outcome

        self.config.stash[SESSION_RUN].add(self.path, self.check.id)
        if self.check.outcome is not Outcome.PASSED or not self.unlearn_run.verdict.complete:
            raise LimitNotHeldError(_explanation(self.check, self.unlearn_run))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The limit's own words instead of a traceback."""
        if isinstance(excinfo.value, LimitNotHeldError):
            return self._told(str(excinfo.value))
        return super().repr_failure(excinfo, style)

    def _told(self, text: str) -> ExceptionChainRepr:
        """The text where a traceback would be, and for the summary, which takes the first line, value and limit."""
        from unlearn_guard.reports import wording

        short = f"{wording.value(self.check)}, limit {wording.bounds(self.check.limit)}"
        entry = ReprEntry(text.splitlines(), None, None, None, "value")
        where = ReprFileLocation(str(self.path), self.check.limit.line or 1, f"{short}\n{text}")
        return ExceptionChainRepr([(ReprTraceback([entry], None, "value"), where, None)])

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The limit's file and line."""
        line = self.check.limit.line
        return self.path, None if line is None else line - 1, self.name


def _explanation(check: "Check", run: "Run") -> str:
    """Value, limit, margin, source and next step of a limit that did not pass."""
    from unlearn_guard.records import Outcome
    from unlearn_guard.reports import wording

    if check.outcome is Outcome.PASSED:
        asked = f"--limit {run.limit}" if run.limit else "not every item asked"
        return f"PARTIAL RUN {wording.plain(check.id)}: it holds on part of the items ({asked}), which is no evidence"
    lines = [
        f"{wording.outcome(check)} {wording.plain(check.id)}",
        f"  value   {wording.value(check)}",
        f"  limit   {wording.bounds(check.limit)}",
        f"  margin  {wording.margin(check)}",
        f"  because {wording.plain(check.limit.because)}",
        f"  next    {wording.next_step(check)}",
    ]
    if check.outcome is Outcome.UNMEASURED:
        lines += [f"  note    {wording.plain(note)}" for note in run.notes]
    return "\n".join(lines)
