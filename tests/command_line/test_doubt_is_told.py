"""What `judge` and `report` say of a limit that so many items do not decide."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done

from tests.oracles.made_scores import BASE, made_limit, made_run, made_score, made_task, ones
from unlearn_guard.records import Property
from unlearn_guard.runs.directory import write_run

Guard = Callable[..., Done]
SENTENCE = "1 of 160 items; not distinguishable from 0; 615 items would decide it."


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Broken by one item of 160 at nf4, and not decided at full."""
    task, limits = (
        made_task(160),
        (
            made_limit("ptq_gap", precision="nf4", guards=Property.PERMANENCE, at_most=0.0),
            made_limit("forget_drop", at_least=0.7, confidence=0.95),
        ),
    )
    scores = (
        made_score(task, ones(160, 160), BASE),
        made_score(task, ones(40, 160)),
        made_score(task, ones(41, 160), precision="nf4"),
    )
    made, scores = made_run(limits=limits, scores=scores)
    write_run(made, scores, tmp_path / "run")
    return tmp_path / "run"


def test_a_limit_broken_within_noise_stays_broken_and_says_so(here: Guard, run: Path) -> None:
    done = here("judge", run)
    assert done.status == 1
    assert SENTENCE in done.text
    told = json.loads(here("judge", run, "--json").out)["checks"]
    assert [each["outcome"] for each in told] == ["failed", "inconclusive"]
    assert told[0]["doubt"] == {"bound": 0.0, "items": 615}
    assert told[1]["doubt"]["items"] > 160


def test_the_reports_say_it_too(here: Guard, run: Path, tmp_path: Path) -> None:
    page, summary, sarif = (tmp_path / name for name in ("page.html", "summary.md", "run.sarif"))
    assert here("report", run, "--html", page, "--markdown", summary, "--sarif", sarif).status == 0
    assert all("615 items would decide it" in each.read_text() for each in (page, summary, sarif))


def test_an_edited_doubt_is_refused(here: Guard, run: Path) -> None:
    file = run / "run.json"
    file.write_text(file.read_text().replace('"items": 615', '"items": 61'))
    done = here("judge", run)
    assert done.status == 4
    assert "checks.0.doubt" in done.text
