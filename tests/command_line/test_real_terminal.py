"""On a real terminal nothing of a library's is seen: what the program draws there is its own."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BARS = re.compile(r"[━╸╺─]+")
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FOREIGN = ("Loading weights", "Warning:", "warn", "torchao", "it/s]", "INFO", "site-packages", "Traceback", "gptqmodel")


@pytest.fixture
def on_a_terminal(environment: dict[str, str], tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run the command with all three streams on a terminal of 80 columns; its status and all that was drawn."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "unlearn_guard", *map(str, arguments)]
        variables = {name: each for name, each in environment.items() if name != "NO_COLOR"} | {
            "TERM": "xterm-256color"
        }
        command = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, cwd=tmp_path)
        os.close(theirs)
        drawn = b""
        try:
            while some := os.read(ours, 65536):
                drawn += some
        except OSError:  # what a terminal answers once nobody is left at its other end
            pass
        os.close(ours)
        return command.wait(), drawn.decode()

    return run


def foreign(drawn: str) -> list[str]:
    """The lines that hold a library's words."""
    lines = re.split(r"[\r\n]+", STEERING.sub("", drawn))
    return [line for line in lines if any(word in line for word in FOREIGN) and "Warning: suite:" not in line]


def test_a_check_draws_its_own_bars_and_result_and_nothing_else(
    on_a_terminal: Callable[..., tuple[int, str]], candidate: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    status, drawn = on_a_terminal("check", candidate("destroyed"), "--precisions", "full,nf4", "--out", out)
    assert status == 1, drawn
    assert BARS.search(drawn), "no bar was drawn"
    assert foreign(drawn) == []
    log = (out / "libraries.log").read_text()
    assert "Loading weights" in log, "what the libraries say is kept"


@pytest.mark.slow
def test_a_training_draws_its_own_bar(
    on_a_terminal: Callable[..., tuple[int, str]], candidate: Callable[[str], Path], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    words = ("--base", candidate("base"), "--suite", "organism", "--out", made, "--set", "steps=2")
    status, drawn = on_a_terminal("unlearn", "wga", *words)
    assert status == 0, drawn
    assert foreign(drawn) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inspect", "suite"])
def test_other_commands_too(
    command: str, on_a_terminal: Callable[..., tuple[int, str]], candidate: Callable[[str], Path]
) -> None:
    words = {"inspect": (candidate("hidden"), "--base", candidate("base")), "suite": ("check", "organism")}
    status, drawn = on_a_terminal(command, *words[command])
    assert status == 0, drawn
    assert foreign(drawn) == []
