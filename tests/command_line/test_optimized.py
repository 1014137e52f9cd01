"""`python -O` leaves asserts out and `-OO` docstrings too: neither opens the gate."""

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.oracles.made_cells import write_made_run

ROOT = Path(__file__).parents[2]
SHIPPED = ("unlearn_guard", "methods", "tasks")


@pytest.mark.parametrize("optimized", ["-O", "-OO"])
@pytest.mark.parametrize(("scores", "status"), [({"forget_nf4": 85}, 1), ({}, 0)])
def test_judge_says_the_same(optimized: str, scores: dict[str, int], status: int, tmp_path: Path) -> None:
    run = write_made_run(tmp_path / "run", **scores)
    said = []
    for options in ([], [optimized]):
        command = [sys.executable, *options, "-m", "unlearn_guard", "judge", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]


@pytest.mark.slow
def test_check_says_the_same(
    candidate: Callable[[str], Path], policy: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    arguments = ["check", candidate("hidden"), "--thresholds", policy, "--out", tmp_path / "run"]
    command = [sys.executable, "-O", "-m", "unlearn_guard", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "FAILED ptq_gap[organism_forget-nf4]" in " ".join(done.stdout.split())


def test_without_docstrings_no_checkpoint_is_called_broken(tmp_path: Path) -> None:
    """transformers cannot do without them."""
    command = [sys.executable, "-OO", "-m", "unlearn_guard", "inspect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "Leave out -OO" in done.stderr


@pytest.mark.parametrize("folder", SHIPPED)
def test_no_guarantee_hangs_on_what_python_o_leaves_out(folder: str) -> None:
    """Neither an assert nor a look at __debug__ or at a docstring stands in what is shipped."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(node, "id", getattr(node, "attr", None))
            assert not isinstance(node, ast.Assert), f"{file}:{node.lineno}"
            assert name not in ("__debug__", "__doc__", "getdoc"), f"{file}:{node.lineno}"
