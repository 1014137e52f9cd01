"""Whichever of `paper` and `release` is in force, one line says what the other would have said."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done

from tests.oracles.made_scores import made_run
from unlearn_guard.runs.directory import write_run

Guard = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made, scores = made_run()
    write_run(made, scores, tmp_path / "run")
    return tmp_path / "run"


def test_the_other_is_told_in_every_report_and_decides_nothing(here: Guard, run: Path, tmp_path: Path) -> None:
    done = here("judge", run)
    assert done.status == 0
    assert done.text.count("By the policy release: not established:") == 1
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    assert here("report", run, "--html", page, "--markdown", summary).status == 0
    assert all("By the policy release" in each.read_text() for each in (page, summary))
    told = json.loads(here("judge", run, "--json").out)
    assert (told["status"], told["verdict"]) == (0, "passed")
    assert (told["other_policy"]["policy"], told["other_policy"]["verdict"]) == ("release", "incomplete")
    assert "relearn_recovery" in told["other_policy"]["says"]


def test_by_release_paper_is_the_other(here: Guard, run: Path) -> None:
    done = here("judge", run, "--thresholds", "release")
    assert done.status == 5
    assert "By the policy paper: not established:" in done.text
    assert "cad" in done.text
