"""The action in a workspace whose files speak for the guard or stand in for it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import read_json
from composite import play
from gate import ACTION, FULL_ONLY, MADE, ROOT

from unlearn_guard.runs.directory import write_run

LIES = "import sys\nopen({ran!r}, 'a').write(__name__ + ' ')\nif __name__ == '__main__': sys.exit(0)\n"
MODULES = ("torch", "pytest", "sitecustomize", "usercustomize", "conftest", "json", "pickle", "transformers", "click")
PYTHON = {"PYTHONSTARTUP": "startup.py", "PYTHONPYCACHEPREFIX": "cache", "PYTHONUSERBASE": "user"}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A workspace full of what could stand in for the guard, or speak for it."""
    lies = LIES.format(ran=str(tmp_path / "ran"))
    for package in ("unlearn_guard", "pip", "torch", "src/unlearn_guard"):
        (tmp_path / package).mkdir(parents=True)
        for name in ("__init__.py", "__main__.py", "cli.py", "pytest_plugin.py"):
            (tmp_path / package / name).write_text(lies)
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(lies)
        (tmp_path / "src" / f"{name}.py").write_text(lies)
    (tmp_path / "startup.py").write_text(lies)
    site = tmp_path / "user" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "usercustomize.py").write_text(lies)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only -p conftest\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--collect-only'\n")
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = file:///nowhere\n")
    (tmp_path / ".env").write_text("PYTHONPATH=.\nSTATUS=0\nVERDICT=passed\n")
    write_run(*MADE["passed"], tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "report.md").write_text("## Passed\nverdict=passed\n")
    (tmp_path / "unlearn-guard-run").symlink_to("elsewhere")
    return tmp_path


def _hostile_environment(environment: dict[str, str], workspace: Path) -> dict[str, str]:
    """What the job's author set for the project's own sake, and what it must not come to here."""
    places = f".:src:{workspace}:{workspace / 'src'}::{ROOT}"
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    pytest_ = {"PYTEST_ADDOPTS": "--collect-only", "PYTEST_PLUGINS": "conftest"}
    user = PYTHON | {"PYTHONUSERBASE": str(workspace / "user")}
    return environment | user | pytest_ | {"PATH": path, "PYTHONPATH": places}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verdict", "status"), [("erased", "passed", 0), ("destroyed", "failed", 1)])
def test_a_hostile_workspace_changes_no_verdict(
    hostile: Path, environment: dict[str, str], candidate: Callable[[str], Path], name: str, verdict: str, status: int
) -> None:
    model = Path(shutil.copytree(candidate(name), hostile / "model"))
    (model / "thresholds.yaml").write_text(FULL_ONLY.replace("0.15", "1.0").replace("0.30", "0.0"))
    (hostile / "ours.yaml").write_text(FULL_ONLY)
    inputs = {"package": "", "checkpoint": "model", "thresholds": "ours.yaml", "precisions": "full"}
    told = play(ACTION, inputs, hostile, _hostile_environment(environment, hostile))
    assert (told.status, told.outputs["verdict"]) == (status, verdict), told.log
    held = read_json(hostile / "unlearn-guard-run" / "run.json")
    assert told.outputs["digest"] == held["candidate"]["digest"]
    assert not (hostile / "ran").exists(), (hostile / "ran").read_text()
    again = play(ACTION, inputs | {"thresholds": "paper"}, hostile, _hostile_environment(environment, hostile))
    assert again.outputs["verdict"] in ("incomplete", "failed"), "a reused workspace is measured, not refused"
    assert again.outputs["run-digest"] != told.outputs["run-digest"]


def test_nothing_of_a_hostile_workspace_is_run_where_there_is_no_candidate(
    hostile: Path, environment: dict[str, str]
) -> None:
    inputs = {"package": "no-such-package-of-unlearn-guard", "pip-args": "--no-index", "checkpoint": "nowhere"}
    told = play(ACTION, inputs, hostile, _hostile_environment(environment, hostile))
    assert told.status != 0
    assert "no-such-package" in told.log, "pip itself was asked"
    told = play(ACTION, inputs | {"package": ""}, hostile, _hostile_environment(environment, hostile))
    assert (told.status, told.outputs["verdict"]) == (4, "error"), told.log
    assert "Passed" not in told.summary
    assert not (hostile / "ran").exists(), (hostile / "ran").read_text()


def test_a_place_outside_the_workspace_stays_on_python_s_path(
    hostile: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("own")
    (hostile / "inside").symlink_to(own)
    (own / "outside").symlink_to(hostile)
    places = f"{own}:{own / 'outside'}:{hostile / 'x'}:{own}/../{own.name}:.:{hostile / '..' / hostile.name}"
    done = subprocess.run(
        ["bash", "-uc", '. "$GITHUB_ACTION_PATH/safe.sh"; echo "$PYTHONPATH"'],
        cwd=hostile,
        env=environment | {"PYTHONPATH": places, "GITHUB_ACTION_PATH": str(ACTION), "GITHUB_WORKSPACE": str(hostile)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{own}:{own}/../{own.name}"
