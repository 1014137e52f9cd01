"""A run directory that holds an earlier run: refused, replaced or resumed, and never a verdict that is not this run's.

The whole command in this process, on the models of tests/switched.py.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command import read_json

from tests.quiz import limits
from unlearn_guard.command_line.app import run
from unlearn_guard.runs.earlier import retracted

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def candidate(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "honest", tmp_path / "candidate"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(limits("forget_drop", "retain_drop", precisions=("full",)))
    return path


@pytest.fixture
def check(
    made: Path,
    shared: Path,
    tmp_path: Path,
    policy: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """`check CANDIDATE` in full precision into tmp_path / run, with a JUnit file; its status and what it said.

    All have one store: what is measured is not the question here.
    """
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(shared / "store-of-earlier-runs"))
    monkeypatch.setenv("COLUMNS", "400")

    def call(checkpoint: Path, *more: str | Path, base: Path | None = None, suite: str = "quiz") -> tuple[int, str]:
        capfd.readouterr()
        options = ("--base", base or made / "base", "--suite", suite, "--tasks-dir", made / "ours")
        options += ("--thresholds", policy, "--precisions", "full", "--junitxml", tmp_path / "junit.xml")
        status = run([str(each) for each in ("check", checkpoint, *options, "--out", tmp_path / "run", *more)])
        told = capfd.readouterr()
        return status, told.out + told.err

    return call


def content(folder: Path) -> dict[str, bytes]:
    """Every file of the run and the JUnit file beside it."""
    files = [path for path in (folder / "run").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in [*files, folder / "junit.xml"]}


def verdicts(folder: Path) -> list[str]:
    """What still speaks of a verdict."""
    places = [folder / "run" / "run.json", folder / "run" / "report.html", folder / "junit.xml"]
    return [path.name for path in places if path.exists()]


@pytest.fixture
def passed(check: Command, candidate: Path, tmp_path: Path) -> dict[str, bytes]:
    """A run of the candidate that passed."""
    status, told = check(candidate)
    assert status == 0, told
    assert len(verdicts(tmp_path)) == 3
    return content(tmp_path)


def test_another_candidate_base_suite_or_policy_is_refused_and_the_run_left_as_it_is(
    made: Path, candidate: Path, policy: Path, check: Command, passed: dict[str, bytes], tmp_path: Path
) -> None:
    others = {
        "candidate": lambda: check(made / "bfloat16"),
        "base": lambda: check(candidate, base=made / "bfloat16"),
        "suite": lambda: check(candidate, suite=str(made / "ours" / "quiz.yaml")),
        "policy": lambda: check(candidate, "--thresholds", changed),
    }
    changed = tmp_path / "changed.yaml"
    changed.write_text(policy.read_text().replace("0.30", "0.31"))
    for what, call in others.items():
        status, told = call()
        assert (status, f"the finished run of another {what}" in told) == (4, True), told
        assert "run.json: " + what in told
        assert "--replace" in told
        assert ("judge" in told) == (what == "policy")
        assert content(tmp_path) == passed, what
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith(".")) == []


def test_replace_gives_the_earlier_run_up(made: Path, check: Command, passed: dict[str, bytes], tmp_path: Path) -> None:
    status, told = check(made / "bfloat16", "--replace")
    assert status in (0, 1), told
    assert read_json(tmp_path / "run" / "run.json")["candidate"]["path"] == str(made / "bfloat16")
    assert not (tmp_path / "run" / ".earlier").exists()


def broken(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize("where", ["the candidate itself", "another place"])
def test_a_candidate_that_intake_refuses_leaves_no_verdict(
    where: str, candidate: Path, check: Command, passed: dict[str, bytes], tmp_path: Path
) -> None:
    spoilt = candidate if where == "the candidate itself" else Path(shutil.copytree(candidate, tmp_path / "spoilt"))
    whole = (candidate / "config.json").read_bytes()
    broken(spoilt)
    assert check(spoilt)[0] == 4
    assert verdicts(tmp_path) == []
    (candidate / "config.json").write_bytes(whole)  # nothing was lost: the same command gives the same verdict
    assert check(candidate)[0] == 0
    assert len(verdicts(tmp_path)) == 3
    assert not (tmp_path / "run" / ".earlier").exists()


def test_an_earlier_run_that_is_aside_is_still_somebody_s(
    made: Path, candidate: Path, check: Command, passed: dict[str, bytes], tmp_path: Path
) -> None:
    assert check(tmp_path / "nothing")[0] == 4
    assert verdicts(tmp_path) == []
    status, told = check(made / "bfloat16")
    assert (status, "another candidate" in told) == (4, True)
    assert verdicts(tmp_path) == []
    assert check(candidate)[0] == 0


@pytest.mark.parametrize(
    "arguments", [("--suite", "quizz"), ("--thresholds", "none.yaml"), ("--precisions", "nf4"), ("--base", "none")]
)
def test_a_mistake_leaves_no_verdict(
    arguments: tuple[str, ...], candidate: Path, check: Command, passed: dict[str, bytes], tmp_path: Path
) -> None:
    assert check(candidate, *arguments)[0] == 4
    standing = verdicts(tmp_path)
    # Another suite is known to be another's run before it is known that there is none of this name.
    assert standing == ([] if arguments[0] != "--suite" else ["run.json", "report.html", "junit.xml"])


def test_a_run_that_fails_while_measuring_leaves_no_verdict(
    candidate: Path, check: Command, passed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearn_guard.checking import pipeline
    from unlearn_guard.errors import MeasurementError

    def fails(*_: object) -> None:
        raise MeasurementError("no number")

    monkeypatch.setattr(pipeline, "_measure", fails)
    assert check(candidate)[0] == 3
    assert verdicts(tmp_path) == []
    assert not (tmp_path / "run" / ".earlier").exists()


def test_the_same_command_again_measures_nothing_and_says_the_same(
    candidate: Path, check: Command, passed: dict[str, bytes], tmp_path: Path
) -> None:
    assert check(candidate)[0] == 0
    held = read_json(tmp_path / "run" / "run.json")
    assert all(stage["cached"] for stage in held["stages"] if stage["name"].startswith("score"))
    before = json.loads(passed[str(tmp_path / "run" / "run.json")])
    assert held["measurements"] == before["measurements"]


@pytest.mark.parametrize("text", ["{", "{}", '{"schema": "unlearn-guard.run/1", "candidate": 1}'])
def test_a_run_that_cannot_be_read_is_nobody_s(
    text: str, candidate: Path, check: Command, passed: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "run" / "run.json").write_text(text)
    before = content(tmp_path)
    assert check(candidate)[0] == 4
    assert content(tmp_path) == before
    assert check(candidate, "--replace")[0] == 0


def test_a_file_that_is_no_junit_file_is_not_taken_away(candidate: Path, check: Command, tmp_path: Path) -> None:
    mine = tmp_path / "junit.xml"
    mine.write_text("mine")
    broken(candidate)
    assert check(candidate)[0] == 4
    assert mine.read_text() == "mine"


def test_what_a_killed_run_set_aside_of_a_junit_file_goes_with_the_next(tmp_path: Path) -> None:
    aside = tmp_path / ".junit.xml.earlier"
    aside.write_text("<testsuite/>")
    with retracted(tmp_path / "junit.xml"):
        pass
    assert list(tmp_path.iterdir()) == []
