"""A candidate that has forgotten (`honest` of tests/switched.py) and base, to bend; the command in this process."""

import shutil
from pathlib import Path

import pytest
from directories import Command

from tests.quiz import limits
from unlearn_guard.command_line.app import run


@pytest.fixture
def candidate(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "honest", tmp_path / "candidate"))


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "base", tmp_path / "base"))


@pytest.fixture
def command(made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`check CANDIDATE` against `base` in full precision, or another command; its status and what it said."""
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "400")
    policy = tmp_path / "policy.yaml"
    policy.write_text(limits("forget_drop", "retain_drop", precisions=("full",)))

    def call(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        if arguments[0] == "check":
            options = ("--suite", "quiz", "--tasks-dir", made / "ours", "--thresholds", policy, "--precisions", "full")
            arguments = (*arguments, "--base", tmp_path / "base", *options, "--out", tmp_path / "run", "--replace")
        status = run([str(each) for each in arguments])
        told = capfd.readouterr()
        return status, told.out + told.err

    return call
