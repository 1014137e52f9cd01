"""A run as JUnit XML, written by pytest itself: one limit, one test case."""

import os
from importlib.util import find_spec
from pathlib import Path

from unlearn_guard.errors import MeasurementError, UsageError
from unlearn_guard.processes.children import NEUTRAL, environment, run_tethered

_DONE = (0, 1)
"""pytest's own statuses for: every limit held, a limit did not."""


def write_junit(run_dir: Path, policy: Path, file: Path) -> None:
    """Judge `run_dir` by the policy file with pytest, and have it write `file`.

    A process of its own: no configuration, conftest or plug-in of the place it is called from takes part.
    Raises UsageError where pytest is not installed, MeasurementError where it did not finish.
    """
    if find_spec("pytest") is None:
        raise UsageError("--junitxml is written by pytest, which is not installed", fix="pip install pytest")
    policy = policy.resolve()
    # fmt: off
    done = run_tethered(
        "pytest", str(policy),
        "-c", os.devnull, "--rootdir", str(policy.parent), "--noconftest",
        "-p", "unlearn_guard.pytest_plugin", "-p", "no:cacheprovider", "-q",
        "--unlearn-run", str(run_dir.resolve()),
        "--junitxml", str(file.resolve()), "-o", "junit_suite_name=unlearn-guard",
        cwd=NEUTRAL, env=_environment(),
    )
    # fmt: on
    if done.returncode not in _DONE or not file.is_file():
        raise MeasurementError(
            f"pytest did not write {file} (its exit status: {done.returncode})", fix=(done.stdout + done.stderr)[-2000:]
        )


def _environment() -> dict[str, str]:
    """The caller's, without what steers pytest."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return environment(kept) | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
