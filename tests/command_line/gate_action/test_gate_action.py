"""The action with a real check."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command import read_json
from gate import FULL_ONLY, Gate, sha256

from tests.oracles.made_scores import made_run
from unlearn_guard.runs.directory import read_run, write_run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verdict", "status"), [("erased", "passed", 0), ("destroyed", "failed", 1)])
def test_a_candidate_s_verdict_is_the_action_s(
    gate: Gate, candidate: Callable[[str], Path], policy: str, tmp_path: Path, name: str, verdict: str, status: int
) -> None:
    told = gate(checkpoint=str(candidate(name)), thresholds=policy, precisions="full", out="run here")
    assert told.status == status, told.log
    assert told.outputs == {
        "verdict": verdict,
        "status": str(status),
        "run-directory": "run here",
        "digest": read_json(tmp_path / "run here" / "run.json")["candidate"]["digest"],
        "run-digest": sha256(tmp_path / "run here" / "run.json"),
    }
    assert told.steps == ["Check", "Report", "Verdict"]
    assert verdict in told.summary.casefold().split("\n")[0]
    assert ("may be released" in told.summary) == (status == 0)
    assert ("::error file=thresholds.yaml,title=FAILED" in told.log) == (status == 1)
    names = {path.name for path in (tmp_path / "run here").iterdir()}
    assert {"run.json", "report.html", "report.sarif", "report.md"} <= names


@pytest.mark.slow
def test_what_was_not_measured_does_not_pass(
    gate: Gate, candidate: Callable[[str], Path], policy: str, tmp_path: Path
) -> None:
    (tmp_path / policy).write_text(FULL_ONLY.replace("precision: [full], at_least", "precision: [full, nf4], at_least"))
    told = gate(checkpoint=str(candidate("erased")), thresholds=policy, precisions="full")
    assert (told.status, told.outputs["verdict"]) == (5, "incomplete")
    assert "not established" in told.summary.casefold()


@pytest.mark.slow
def test_a_checkpoint_that_is_none_is_an_error_and_never_a_pass(gate: Gate, policy: str) -> None:
    told = gate(checkpoint="--help", thresholds=policy)
    assert told.status == 4, told.log
    assert told.outputs["verdict"] == "error"
    assert "No verdict" in told.summary


@pytest.mark.slow
def test_an_earlier_run_s_verdict_is_not_taken_for_this_one_s(gate: Gate, policy: str, tmp_path: Path) -> None:
    run, scores = made_run()
    write_run(run, scores, tmp_path / "unlearn-guard-run")
    assert read_run(tmp_path / "unlearn-guard-run").verdict.passed
    told = gate(checkpoint=str(tmp_path / "nothing"), thresholds=policy)
    assert (told.status, told.outputs["verdict"]) == (4, "error")
    assert "Passed" not in told.summary


@pytest.mark.slow
def test_a_line_break_cannot_add_an_output(gate: Gate, policy: str) -> None:
    for between in ("\n", "\r", "\x0b", "\x85", "\u2028"):
        told = gate(checkpoint="nothing", thresholds=policy, out=f"x{between}verdict=passed")
        assert (told.outputs["verdict"], told.status) == ("error", 4), repr(between)
        assert told.outputs["run-directory"] == ""


def test_inputs_reach_the_command_as_they_are_and_torch_comes_first(played: Gate, tmp_path: Path) -> None:
    told = played(
        *(0, "passed"),
        checkpoint="cand idate",
        **{"data-dir": "my data", "tasks-dir": "tasks", "device": "cpu", "batch-size": "8", "seal": "seal.json"},
        artifacts="gptq=./g awq=./a",
        constraints="constraints.txt",
        **{"apply-chat-template": "true"},
    )
    assert told.status == 0, told.log
    asked = [line.split("|")[:-1] for line in (tmp_path / "asked").read_text().splitlines()]
    installed = [line[4:] for line in asked if line[2:4] == ["pip", "install"]]
    assert [line[-1] for line in installed] == ["torch", "unlearn-guard[gptq,pytest]"]
    assert all(line[line.index("-c") + 1] == "constraints.txt" for line in installed)
    (line,) = [line for line in asked if line[2:4] == ["unlearn_guard", "check"]]
    words = " ".join(line)
    for said in ("--data-dir my data", "--tasks-dir tasks", "--device cpu", "--batch-size 8", "--seal seal.json",
                 "--artifact gptq=./g", "--artifact awq=./a", "--apply-chat-template", "--replace"):  # fmt: skip
        assert said in words
    assert line[-2:] == ["--", "cand idate"]
    assert "--quiet" not in line
    lines = told.log.splitlines()
    begin, end = lines.index("::group::unlearn-guard check"), lines.index("::endgroup::")
    token = lines[begin + 1].removeprefix("::stop-commands::")
    assert len(token) == 32
    assert lines[end - 1] == f"::{token}::", "from here on the runner listens again"


def test_an_earlier_run_is_kept_where_replace_is_false(played: Gate, tmp_path: Path) -> None:
    (tmp_path / "unlearn-guard-run").mkdir()
    (tmp_path / "unlearn-guard-run" / "run.json").write_text("mine")
    told = played(0, "passed", checkpoint="x", replace="false")
    assert (told.status, told.outputs["verdict"]) == (4, "error")
    assert (tmp_path / "unlearn-guard-run" / "run.json").read_text() == "mine"
