"""The action's steps, run here with the files that GitHub's runner would give them."""

import shlex
import sys
from pathlib import Path

import pytest
from composite import Played, play
from gate import ACTION, FULL_ONLY, MADE, ROOT, Gate

from unlearn_guard.runs.directory import write_run


@pytest.fixture
def gate(environment: dict[str, str], tmp_path: Path) -> Gate:
    def run(**inputs: str) -> Played:
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        variables = environment | {"PATH": path, "PYTHONPATH": str(ROOT)}
        return play(ACTION, {"package": "", **inputs}, tmp_path, variables)

    return run


@pytest.fixture
def policy(tmp_path: Path) -> str:
    (tmp_path / "thresholds.yaml").write_text(FULL_ONLY)
    return "thresholds.yaml"


@pytest.fixture
def played(environment: dict[str, str], tmp_path: Path) -> Gate:
    """The action around a `check` that ends with a given status and leaves a given run; all else is real."""

    def run(status: int, verdict: str, out: str = "unlearn-guard-run", **inputs: str) -> Played:
        if verdict:
            made, scores = MADE[verdict]
            write_run(made, scores, tmp_path / "made")
        left = f"cp -r {tmp_path}/made/. {shlex.quote(out)}; " if verdict else ""
        shim = tmp_path / "bin" / "python"
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(
            f'#!/bin/sh\nprintf "%s|" "$@" >> {tmp_path}/asked\necho >> {tmp_path}/asked\n'
            f'case "$3 $4" in "pip install") exit 0 ;; "unlearn_guard check") mkdir -p {shlex.quote(out)}; '
            f"{left}exit {status} ;; esac\n"
            f'exec {sys.executable} "$@"\n'
        )
        shim.chmod(0o755)
        path = f"{shim.parent}:{environment['PATH']}"
        return play(ACTION, inputs | {"out": out}, tmp_path, environment | {"PATH": path, "PYTHONPATH": str(ROOT)})

    return run
