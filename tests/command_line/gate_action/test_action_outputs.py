"""What the action says after a check that ended with a given status and left a given run."""

from dataclasses import replace
from pathlib import Path

import pytest
from gate import MADE, Gate, sha256

from unlearn_guard.judging.gate import judge
from unlearn_guard.runs.directory import write_run


@pytest.mark.parametrize(
    ("status", "verdict", "title"),
    [(0, "passed", "✓ Passed"), (1, "failed", "✕ Failed"), (5, "incomplete", "? Not established")],
)
def test_a_verdict_reaches_outputs_summary_and_status(played: Gate, status: int, verdict: str, title: str) -> None:
    told = played(status, verdict, checkpoint="model")
    assert (told.status, told.outputs["verdict"], told.outputs["status"]) == (status, verdict, str(status))
    assert told.summary.startswith(f"## {title}")
    assert told.steps == ["Install", "Check", "Report", "Verdict"]
    assert ("::error file=thresholds.yaml" in told.log) == (verdict == "failed")


@pytest.mark.parametrize("status", [2, 3, 4, 130, 137])
def test_what_is_no_verdict_is_an_error_whatever_run_lies_there(played: Gate, status: int) -> None:
    told = played(status, "passed", checkpoint="model")
    assert (told.status, told.outputs["verdict"]) == (status, "error")
    assert told.summary.startswith("## ? No verdict")


def test_inputs_reach_pip_and_check_as_they_are(played: Gate, tmp_path: Path) -> None:
    odd = "a b; echo $HOME `id` $(id) 'x'"
    told = played(
        0,
        "passed",
        checkpoint=f"--limit {odd}",
        base=odd,
        precisions="full,nf4",
        package="x[y]",
        **{"pip-args": "-c c.txt"},
    )
    assert told.status == 0, told.log
    pip, check = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()[:2]
    assert pip == "-P|-m|pip|install|--disable-pip-version-check|-c|c.txt|x[y]|"
    assert check == (
        "-P|-m|unlearn_guard|check|--out|unlearn-guard-run|--replace|"
        f"--base|{odd}|--precisions|full,nf4|--|--limit {odd}|"
    )


@pytest.mark.parametrize(
    ("status", "verdict"), [(0, "failed"), (0, "incomplete"), (1, "passed"), (5, "passed"), (5, "failed"), (0, None)]
)
def test_a_status_that_the_run_directory_does_not_bear_out_is_an_error(
    played: Gate, status: int, verdict: str, tmp_path: Path
) -> None:
    """A run that passed lay there before the step; it is not this step's."""
    write_run(*MADE["passed"], tmp_path / "unlearn-guard-run")
    told = played(status, verdict, checkpoint="model")
    assert (told.status, told.outputs["verdict"], told.outputs["status"]) == (3, "error", "3")
    assert (told.outputs["digest"], told.outputs["run-digest"]) == ("", "")
    assert told.summary.startswith("## ? No verdict")


def test_a_run_that_contradicts_itself_is_an_error(played: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    run, scores = MADE["failed"]
    limits = tuple(replace(each, at_most=1.0) if each.at_most == 0.0 else each for each in run.policy.limits)
    verdict = judge(limits, run.measurements, candidate=run.candidate.digest, complete=True)
    loosened = replace(run, policy=replace(run.policy, limits=limits), verdict=verdict)
    assert verdict.passed
    monkeypatch.setitem(MADE, "loosened", (loosened, scores))
    told = played(0, "loosened", checkpoint="model")
    assert (told.status, told.outputs["verdict"]) == (3, "error")
    assert "contradicts itself" in told.log


def test_the_digests_are_outputs(played: Gate, tmp_path: Path) -> None:
    told = played(1, "failed", checkpoint="model", out="run/")
    assert told.outputs["digest"] == MADE["failed"][0].candidate.digest
    assert told.outputs["run-digest"] == sha256(tmp_path / "run" / "run.json")
    assert told.outputs["run-directory"] == "run"


def test_a_linked_run_directory_is_made_anew_and_what_it_led_to_left_alone(played: Gate, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_run(*MADE["passed"], elsewhere)
    before = sha256(elsewhere / "run.json")
    (tmp_path / "unlearn-guard-run").symlink_to(elsewhere)
    told = played(1, "failed", checkpoint="model")
    assert (told.status, told.outputs["verdict"]) == (1, "failed")
    assert not (tmp_path / "unlearn-guard-run").is_symlink()
    assert sha256(elsewhere / "run.json") == before
