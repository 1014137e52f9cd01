"""The pytest plug-in: a policy file is a test module, and each of its limits a test.

    pytest thresholds.yaml --unlearn-run runs/x
    pytest thresholds.yaml --unlearn-checkpoint ./checkpoint --unlearn-base ./base --unlearn-suite NAME

Without one of these options it does nothing and imports nothing. A limit that was not measured or is
inconclusive fails, as a broken one does: nothing here is ever skipped. With xdist the measuring is done
once, by the controller, before the workers start; they read the finished run directory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from unlearn_guard.records import Check, Run

_DIRECTORY = pytest.StashKey[Path]()
_RUN = pytest.StashKey["Run"]()
_JUDGED = pytest.StashKey[bool]()
_WORKER_KEY = "unlearn_guard_run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all off."""
    group = parser.getgroup("unlearn-guard", "release gate for unlearned models")
    group.addoption("--unlearn-run", metavar="DIR", help="judge this finished run directory")
    group.addoption("--unlearn-checkpoint", metavar="CHECKPOINT", help="measure this checkpoint first")
    group.addoption("--unlearn-base", metavar="PATH", help="the model before unlearning")
    group.addoption("--unlearn-suite", metavar="NAME", help="the suite to ask")
    group.addoption("--unlearn-precisions", metavar="LIST", help="comma-separated, such as full,nf4")
    group.addoption("--unlearn-out", metavar="DIR", help="where the measured run goes (default: runs/pytest)")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that contradict each other, before anything is measured."""
    run, checkpoint = config.getoption("--unlearn-run"), config.getoption("--unlearn-checkpoint")
    if run and checkpoint:
        raise pytest.UsageError("--unlearn-run and --unlearn-checkpoint exclude each other: give one of them")
    for option in ("--unlearn-base", "--unlearn-suite", "--unlearn-precisions", "--unlearn-out"):
        if config.getoption(option) and not checkpoint:
            raise pytest.UsageError(f"{option} says how to measure, so it needs --unlearn-checkpoint")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the run directory ready: given, handed over by the controller, or measured now."""
    config = session.config
    handed = getattr(config, "workerinput", {}).get(_WORKER_KEY)
    if handed:
        config.stash[_DIRECTORY] = Path(handed)
    elif config.getoption("--unlearn-run"):
        config.stash[_DIRECTORY] = (config.invocation_params.dir / config.getoption("--unlearn-run")).resolve()
    elif config.getoption("--unlearn-checkpoint"):
        config.stash[_DIRECTORY] = _measure(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the run lies (xdist calls this in the controller, after the session started)."""
    directory = node.config.stash.get(_DIRECTORY, None)
    if directory is not None:
        node.workerinput[_WORKER_KEY] = str(directory)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "PolicyModule | None":
    """A policy file: any YAML that is named, and `thresholds.yaml` in a directory that is, if not in the candidate."""
    if parent.config.stash.get(_DIRECTORY, None) is None or file_path.suffix not in (".yaml", ".yml"):
        return None
    named = parent.session.isinitpath(file_path)
    if named or (file_path.name == "thresholds.yaml" and not _of_the_candidate(parent.config, file_path)):
        return PolicyModule.from_parent(parent, path=file_path)
    return None


def _of_the_candidate(config: pytest.Config, file: Path) -> bool:
    """Whether a policy that nobody named lies inside the candidate: its maker's word, which is not asked."""
    from unlearn_guard.errors import GuardError
    from unlearn_guard.request import Request

    try:
        candidate = config.getoption("--unlearn-checkpoint") or str(_run(config).candidate.path)
    except GuardError:
        return False  # the policy's own module says what is wrong with the run
    return Request(checkpoint=candidate).owns(file)


def pytest_collection_finish(session: pytest.Session) -> None:
    """A run that is given and never judged is a mistake, not a success."""
    config = session.config
    uses_run = any("unlearn_run" in getattr(item, "fixturenames", ()) for item in session.items)
    controller = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.stash.get(_DIRECTORY, None) is None or controller:
        return
    if not uses_run and not config.stash.get(_JUDGED, False):
        raise pytest.UsageError(
            "a run was given, but nothing judges it: name a policy file, as in `pytest thresholds.yaml`, "
            "or use the unlearn_run fixture"
        )


@pytest.fixture(scope="session")
def unlearn_run(pytestconfig: pytest.Config) -> "Run":
    """The `unlearn_guard.records.Run` given by --unlearn-run or measured from --unlearn-checkpoint."""
    if pytestconfig.stash.get(_DIRECTORY, None) is None:
        pytest.fail("unlearn_run needs --unlearn-run DIR or --unlearn-checkpoint CHECKPOINT", pytrace=False)
    from unlearn_guard.errors import GuardError

    try:
        return _run(pytestconfig)
    except GuardError as error:
        pytest.fail(str(error), pytrace=False)


def write_junit(run_dir: Path, policy: str | Path, file: Path) -> None:
    """Write the JUnit XML of a run judged by `policy` (a file or a shipped policy's name), in a process of its own.

    Raises UsageError where pytest is not installed, MeasurementError where it did not finish.
    """
    from unlearn_guard.judging.thresholds import policy_file
    from unlearn_guard.reports import junit

    junit.write_junit(run_dir, policy_file(policy), file)


class PolicyModule(pytest.File):
    """A policy file against the session's run."""

    def collect(self) -> Iterator["LimitItem"]:
        """One item for each limit, in the policy's order."""
        from unlearn_guard.errors import GuardError
        from unlearn_guard.judging.rejudge import rejudge
        from unlearn_guard.judging.thresholds import read_policy
        from unlearn_guard.opening import read_run
        from unlearn_guard.registry import precisions
        from unlearn_guard.reports.wording import plain

        self.config.stash[_JUDGED] = True
        try:
            draft = read_policy(self.path)
            run = rejudge(read_run(self.config.stash[_DIRECTORY], by=draft), draft, precisions())
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

        if self.check.outcome is not Outcome.PASSED or not self.unlearn_run.verdict.complete:
            raise LimitNotHeldError(_explanation(self.check, self.unlearn_run))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The limit's own words instead of a traceback."""
        if isinstance(excinfo.value, LimitNotHeldError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

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


def _run(config: pytest.Config) -> "Run":
    """The session's run, read once."""
    from unlearn_guard.opening import read_run

    if _RUN not in config.stash:
        config.stash[_RUN] = read_run(config.stash[_DIRECTORY])
    return config.stash[_RUN]


def _measure(config: pytest.Config) -> Path:
    """Measure --unlearn-checkpoint once and return the run directory."""
    from unlearn_guard.errors import GuardError, UsageError
    from unlearn_guard.pipeline import check
    from unlearn_guard.request import Request

    precisions = config.getoption("--unlearn-precisions")
    request = Request(
        checkpoint=config.getoption("--unlearn-checkpoint"),
        base=config.getoption("--unlearn-base"),
        suite=config.getoption("--unlearn-suite"),
        thresholds=_named_policy(config),
        precisions=tuple(precisions.split(",")) if precisions else None,
        out=(config.invocation_params.dir / (config.getoption("--unlearn-out") or "runs/pytest")).resolve(),
        replace=not config.getoption("--unlearn-out"),  # runs/pytest is ours
    )
    try:
        return check(request)[1]
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    except GuardError as error:
        pytest.exit(str(error), returncode=int(error.exit_status))


def _named_policy(config: pytest.Config) -> str | None:
    """The first policy file named on the command line: it may say which base and suite to measure with."""
    files = (config.invocation_params.dir / argument.partition("::")[0] for argument in config.args)
    return next((str(file) for file in files if file.suffix in (".yaml", ".yml") and file.is_file()), None)
