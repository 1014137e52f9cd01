"""A candidate that has forgotten (`honest` of tests/switched.py) and base, to bend; the command in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from alone import alone
from command import Done
from directories import Command

from tests.quiz import limits
from unlearn_guard.command_line.app import run


@pytest.fixture
def candidate(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "honest", tmp_path / "candidate"))


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "base", tmp_path / "base"))


@pytest.fixture(scope="session")
def options(made: Path, shared: Path) -> tuple[str | Path, ...]:
    """What every check here is asked: the quiz, in full precision."""
    policy = shared / "full.yaml"
    policy.write_text(limits("forget_drop", "retain_drop", precisions=("full",)))
    return "--suite", "quiz", "--tasks-dir", made / "ours", "--thresholds", policy, "--precisions", "full"


@pytest.fixture(scope="session")
def answered(here: Callable[..., Done], made: Path, shared: Path, options: tuple[str | Path, ...]) -> Path:
    """A store with base's answers, and no candidate's that a test asks for."""
    store = shared / "answered"
    with alone(shared / "answered.lock"):
        if not store.exists():
            asked = ("check", made / "float16", "--base", made / "base", *options, "--out", shared / "run-answered")
            assert here(*asked, UNLEARN_GUARD_CACHE=str(store)).status == 0
    return store


@pytest.fixture
def command(
    answered: Path,
    options: tuple[str | Path, ...],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """`check CANDIDATE` against `base` in full precision, or another command; its status and what it said."""
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(shutil.copytree(answered, tmp_path / "store")))
    monkeypatch.setenv("COLUMNS", "400")

    def call(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        if arguments[0] == "check":
            arguments = (*arguments, "--base", tmp_path / "base", *options, "--out", tmp_path / "run", "--replace")
        status = run([str(each) for each in arguments])
        told = capfd.readouterr()
        return status, told.out + told.err

    return call
