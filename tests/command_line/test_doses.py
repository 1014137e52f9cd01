"""`check --doses`, and what `judge` and the reports make of the certificate."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command import Done, read_json

from tests.oracles.made_scores import BASE, CANDIDATE, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.judging.dosing import dosed_precision, doses
from unlearn_guard.runs.directory import write_run

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that passed, with mixtures that know more and more."""
    mixed = {}
    for share, right in ((0.1, 40), (0.3, 70), (0.5, 85)):
        score, name = made_score(made_task(100), ones(right, 100)), dosed_precision(share)
        mixed[share] = [replace(score, precision=name, measurement=replace(score.measurement, precision=name))]
    made, scores = made_run(doses=doses(made_scores(), mixed, base=BASE, candidate=CANDIDATE, seed=0))
    write_run(made, (*scores, *(each for scored in mixed.values() for each in scored)), tmp_path / "run")
    return tmp_path / "run"


def test_a_pass_brings_its_positive_control(here: Guard, run: Path, tmp_path: Path) -> None:
    done = here("judge", run)
    assert done.status == 0, done.text
    assert "with 30 % of base mixed in, this gate would have caught it" in done.text
    told = json.loads(here("judge", run, "--json").out)["certificate"]
    assert told == {"share": 0.3, "limits": ["forget_drop[forget_task-full]"], "asked": [0.1, 0.3, 0.5]}
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    assert here("report", run, "--html", page, "--markdown", summary).status == 0
    assert all("30 % of base" in each.read_text().replace("&#37;", "%") for each in (page, summary))


def test_another_policy_has_another_certificate(here: Guard, run: Path, tmp_path: Path) -> None:
    policy = tmp_path / "harder.yaml"
    rule = "{metric: forget_drop, task: '@forget', precision: full, at_least: 0.7, because: harder}"
    policy.write_text(f"version: 1\nlimits: [{rule}]")
    assert "with 10 % of base" in here("judge", run, "--thresholds", policy).text
    policy.write_text(policy.read_text().replace("0.7", "0.01"))
    assert "NONE of the doses was caught" in here("judge", run, "--thresholds", policy).text


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (lambda c: c["certificate"].update(share=0.1), "certificate"),
        (lambda c: c["doses"].pop(1), "doses"),
        (lambda c: c["doses"][1]["measurements"][0].update(value=0.01), "doses"),
        (lambda c: c.update(doses=[], certificate=None), "doses"),
    ],
)
def test_an_edited_dose_is_refused(here: Guard, run: Path, edit: Callable[[dict], object], where: str) -> None:
    content = read_json(run / "run.json")
    edit(content)
    if where != "certificate" and content["doses"]:
        content["certificate"]["asked"] = [each["share"] for each in content["doses"]]
    (run / "run.json").write_text(json.dumps(content))
    done = here("judge", run)
    assert done.status == 4, done.text
    assert where in done.text


@pytest.mark.slow
def test_check_asks_mixtures_with_base(here: Guard, candidate: Candidate, policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("check", candidate("erased"), "--thresholds", policy, "--precisions", "full", "--doses", "--out", out)
    done = here(*words)
    assert "Positive control: with" in done.text
    assert (out / "samples" / "organism_forget.full-dose-0.05.candidate.jsonl").is_file()
    assert here("judge", out).text.count("Positive control") == 1
    measured = {each["share"]: each["measurements"] for each in read_json(out / "run.json")["doses"]}
    accuracy = [
        next(each["value"] for each in measured[share] if (each["metric"], each["task"]) == ("acc", "organism_forget"))
        for share in sorted(measured)
    ]
    assert accuracy[-1] > 0.9  # with 70 % of base it knows again
    assert accuracy[-1] > accuracy[0]
