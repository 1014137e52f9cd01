"""The pytest plug-in: a policy file is a test module, and each of its limits a test.

    pytest thresholds.yaml --unlearn-run runs/x
    pytest thresholds.yaml --unlearn-checkpoint ./checkpoint --unlearn-base ./base --unlearn-suite NAME

Without one of these options it does nothing and imports nothing. A limit that was not measured or is
inconclusive fails, as a broken one does. A session that did not ask every limit says which, and ends with 5 where it
would have ended with 0, unless --unlearn-partial; see `session_run`. With xdist the measuring is done once, by the
controller, before the workers start; they read the finished run directory, and the controller decides the status.
"""

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from unlearn_guard.pytest_plugin.limit_items import PolicyModule, policy_id, reads_as_policy
from unlearn_guard.pytest_plugin.session_run import SESSION_RUN, UNJUDGED, SessionRun

if TYPE_CHECKING:
    from unlearn_guard.records import Run

_SAID = pytest.StashKey[bool]()
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
    group.addoption("--unlearn-candidate", metavar="PATH", help="refuse a run that did not judge exactly these files")
    group.addoption(
        "--unlearn-partial", action="store_true", help="a session that does not ask every limit may end with 0"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that contradict each other, before anything is measured."""
    run, checkpoint = config.getoption("--unlearn-run"), config.getoption("--unlearn-checkpoint")
    if run and checkpoint:
        raise pytest.UsageError("--unlearn-run and --unlearn-checkpoint exclude each other: give one of them")
    for option in ("--unlearn-base", "--unlearn-suite", "--unlearn-precisions", "--unlearn-out"):
        if config.getoption(option) and not checkpoint:
            raise pytest.UsageError(f"{option} says how to measure, so it needs --unlearn-checkpoint")
    if config.getoption("--unlearn-candidate") and not (run or checkpoint):
        raise pytest.UsageError("--unlearn-candidate says whose run it must be, so it needs --unlearn-run")
    if not (run or checkpoint):
        for file in filter(reads_as_policy, _named_policies(config)):
            raise pytest.UsageError(
                f"{file.name} is a policy, and nobody said of which run: give --unlearn-run DIR, what `unlearn-guard "
                "check --out DIR` left, or --unlearn-checkpoint CHECKPOINT --unlearn-base PATH --unlearn-suite NAME"
            )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the run directory ready: given, handed over by the controller, or measured now."""
    config, directory = session.config, None
    if handed := getattr(config, "workerinput", {}).get(_WORKER_KEY):
        directory = Path(handed)
    elif config.getoption("--unlearn-run"):
        directory = (config.invocation_params.dir / config.getoption("--unlearn-run")).resolve()
    elif config.getoption("--unlearn-checkpoint"):
        directory = _measure(config)
    if directory is not None:
        config.stash[SESSION_RUN] = SessionRun(directory)
        if config.getoption("--unlearn-candidate") and not handed:
            _assert_candidate(config)


def _assert_candidate(config: pytest.Config) -> None:
    from unlearn_guard.errors import GuardError
    from unlearn_guard.intake import assert_judged

    run, place = config.stash[SESSION_RUN], config.invocation_params.dir / config.getoption("--unlearn-candidate")
    try:
        assert_judged(run.judged().candidate, place, run.directory)
    except GuardError as error:
        raise pytest.UsageError(f"--unlearn-candidate: {error}") from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Whose run it is: candidate, digest, its own verdict, and by which policy this session asks."""
    from unlearn_guard.errors import GuardError
    from unlearn_guard.reports.wording import plain

    if (held := config.stash.get(SESSION_RUN, None)) is None:
        return []
    asked = ", ".join(file.name for file in _named_policies(config))
    lines = [f"unlearn-guard: {held.directory}"]
    try:
        run = held.judged()
        lines += [
            f"  candidate: {run.candidate.path}, {run.candidate.digest}",
            f"  verdict: {run.verdict.word}, by its own policy {run.policy.path} ({run.policy.digest})",
            f"  asked here: {asked or 'each thresholds.yaml that is found, or else its own policy'}",
        ]
    except GuardError as error:
        lines.append(f"  no run that can be judged: {error.summary}")
    return [plain(line) for line in lines]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the run lies (xdist calls this in the controller, after the session started)."""
    held = node.config.stash.get(SESSION_RUN, None)
    if held is not None:
        node.workerinput[_WORKER_KEY] = str(held.directory)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what an xdist worker asked; of one that died nothing counts as asked."""
    held = node.config.stash.get(SESSION_RUN, None)
    packed = (getattr(node, "workeroutput", None) or {}).get(_WORKER_KEY)
    if held is not None and packed is not None:
        held.merge(packed)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> PolicyModule | None:
    """A policy file: any YAML that is named, and `thresholds.yaml` in a directory that is, if not in the candidate."""
    if parent.config.stash.get(SESSION_RUN, None) is None or file_path.suffix not in (".yaml", ".yml"):
        return None
    named = parent.session.isinitpath(file_path)
    if named or (file_path.name == "thresholds.yaml" and not _of_the_candidate(parent.config, file_path)):
        return PolicyModule.from_parent(parent, path=file_path, nodeid=policy_id(file_path, parent.config.rootpath))
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> None:
    """Note a policy that is to be asked before anything (--lf) can leave it out."""
    if isinstance(collector, PolicyModule):
        collector.config.stash[SESSION_RUN].add(collector.path)


def _of_the_candidate(config: pytest.Config, file: Path) -> bool:
    """Whether a policy that nobody named lies inside the candidate: its maker's word, which is not asked."""
    from unlearn_guard.checking.request import Request
    from unlearn_guard.errors import GuardError

    try:
        candidate = config.getoption("--unlearn-checkpoint") or str(config.stash[SESSION_RUN].judged().candidate.path)
    except GuardError:
        return False  # the policy's own module says what is wrong with the run
    return Request(checkpoint=candidate).owns(file)


def pytest_collection_finish(session: pytest.Session) -> None:
    """A run that is given and never judged is a mistake, not a success."""
    config = session.config
    if (held := config.stash.get(SESSION_RUN, None)) is None:
        return
    held.by_tests = any("unlearn_run" in getattr(item, "fixturenames", ()) for item in session.items)
    worker = hasattr(config, "workerinput")  # one of many: the controller knows of all
    if not held.by_tests and not held.asked and not worker:
        raise pytest.UsageError(UNJUDGED)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Never end with 0 where the run is not passed or not wholly asked; any other status stays as it is."""
    config: Any = session.config  # xdist hangs its own attributes on it
    if (held := config.stash.get(SESSION_RUN, None)) is None:
        return (yield)
    if hasattr(config, "workerinput"):
        config.workeroutput[_WORKER_KEY] = held.packed()
        return (yield)
    result = yield
    status, lines = _accounted(config, int(session.exitstatus))
    if not config.stash.get(_SAID, False):  # no terminal, or a status that it says nothing of
        sys.stderr.write("".join(f"unlearn-guard: {line}\n" for line in lines))
    if int(session.exitstatus) == pytest.ExitCode.OK:
        session.exitstatus = status
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Say which limits were not asked, and what else stands against a pass."""
    if config.stash.get(SESSION_RUN, None) is None:
        return
    if lines := _accounted(config, int(exitstatus))[1]:
        terminalreporter.section("unlearn-guard: not asked, or not held")
        for line in lines:
            terminalreporter.line(line)
    config.stash[_SAID] = True


def _accounted(config: pytest.Config, status: int) -> tuple[int, list[str]]:
    """The status for a session that would end with 0, and what is to be said. What pytest said already is left out."""
    from unlearn_guard.errors import GuardError
    from unlearn_guard.reports.wording import plain

    held, partial = config.stash[SESSION_RUN], config.getoption("--unlearn-partial")
    for file in _named_policies(config):
        held.add(file)
    if status in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR):
        return status, []
    try:
        found = list(held.shortfalls())
    except GuardError as error:
        return error.exit_status, [plain(error.summary)] if status == pytest.ExitCode.OK else []
    said = [each for each in found if each.partial or status == pytest.ExitCode.OK]
    lines = [line for each in said for line in each.lines]
    if lines and any(each.partial for each in said):
        lines.append(
            "--unlearn-partial: these do not change the exit status"
            if partial
            else "the session is no pass; where that is meant, say --unlearn-partial"
        )
    counted = [each.status for each in found if not (partial and each.partial)]
    return min(counted, default=pytest.ExitCode.OK), lines


@pytest.fixture(scope="session")
def unlearn_run(pytestconfig: pytest.Config) -> "Run":
    """The `unlearn_guard.records.Run` given by --unlearn-run or measured from --unlearn-checkpoint."""
    if (held := pytestconfig.stash.get(SESSION_RUN, None)) is None:
        pytest.fail("unlearn_run needs --unlearn-run DIR or --unlearn-checkpoint CHECKPOINT", pytrace=False)
    from unlearn_guard.errors import GuardError

    held.by_tests = True
    try:
        return held.judged()
    except GuardError as error:
        pytest.fail(str(error), pytrace=False)


def write_junit(run_dir: Path, policy: str | Path, file: Path) -> None:
    """Write the JUnit XML of a run judged by `policy` (a file or a shipped policy's name), in a process of its own.

    Raises UsageError where pytest is not installed, MeasurementError where it did not finish.
    """
    from unlearn_guard.judging.thresholds import policy_file
    from unlearn_guard.reports import junit

    junit.write_junit(run_dir, policy_file(policy), file)


def _measure(config: pytest.Config) -> Path:
    """Measure --unlearn-checkpoint once and return the run directory."""
    from unlearn_guard.checking.pipeline import check
    from unlearn_guard.checking.request import Request
    from unlearn_guard.errors import GuardError, UsageError

    precisions = config.getoption("--unlearn-precisions")
    request = Request(
        checkpoint=config.getoption("--unlearn-checkpoint"),
        base=config.getoption("--unlearn-base"),
        suite=config.getoption("--unlearn-suite"),
        thresholds=str(named[0]) if (named := _named_policies(config)) else None,
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


def _named_policies(config: pytest.Config) -> list[Path]:
    """The policy files named on the command line; the first may say which base and suite to measure with."""
    files = (config.invocation_params.dir / argument.partition("::")[0] for argument in config.args)
    return [file for file in dict.fromkeys(files) if file.suffix in (".yaml", ".yml") and file.is_file()]
