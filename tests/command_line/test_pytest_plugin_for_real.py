"""`pytest thresholds.yaml --unlearn-checkpoint ...` in a process of its own, loaded through its entry point."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json

Candidate = Callable[[str], Path]


def pytest_on(policy: Path, *arguments: object, environment: dict[str, str], cwd: Path) -> Done:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", policy, *arguments]
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_a_checkpoint_is_measured_and_each_limit_is_a_test(
    candidate: Candidate,
    checked: Callable[[str], tuple[Done, Path]],
    policy: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    limits = len(read_json(checked("hidden")[1] / "run.json")["checks"])
    options = (
        "--unlearn-checkpoint",
        candidate("hidden"),
        "--unlearn-precisions",
        "full,nf4",
        "--unlearn-out",
        "run",
    )
    done = pytest_on(policy, *options, environment=environment, cwd=tmp_path)
    assert done.status == 1, done.text
    assert "thresholds.yaml::ptq_gap[organism_forget-nf4]" in done.text
    broken = sum(check["outcome"] == "failed" for check in read_json(tmp_path / "run" / "run.json")["checks"])
    assert f"{broken} failed, {limits - broken} passed" in done.text
    arguments = (policy, "--unlearn-run", "run", "-k", "retain_drop", "-n", "2")
    again = pytest_on(*arguments, environment=environment, cwd=tmp_path)
    assert again.status == 5, again.text
    assert "limits were not asked" in again.text
    meant = pytest_on(*arguments, "--unlearn-partial", environment=environment, cwd=tmp_path)
    assert meant.status == 0, meant.text
    tied = pytest_on(
        policy,
        "--unlearn-run",
        "run",
        "--unlearn-candidate",
        candidate("erased"),
        environment=environment,
        cwd=tmp_path,
    )
    assert tied.status == 4, tied.text
    assert "is not what" in tied.text
