"""The composite action, its steps run here with the files that GitHub's runner would give them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from composite import Played, play

from tests.oracles.made_scores import made_run, made_scores
from unlearn_guard.runs.directory import read_run, write_run

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "gate"
FULL_ONLY = """\
version: 1
limits:
  - {metric: forget_drop, task: "@forget", precision: full, at_least: 0.30, because: test}
  - {metric: retain_drop, task: "@retain", precision: full, at_most: 0.15, because: test}
"""

Gate = Callable[..., Played]


@pytest.fixture
def gate(environment: dict[str, str], tmp_path: Path) -> Gate:
    def run(**inputs: str) -> Played:
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        variables = environment | {"PATH": path, "PYTHONPATH": str(ROOT)}
        return play(ACTION, {"package": "", **inputs}, tmp_path, variables)

    return run


@pytest.fixture
def policy(tmp_path: Path) -> str:
    (tmp_path / "thresholds.yaml").write_text(FULL_ONLY)
    return "thresholds.yaml"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verdict", "status"), [("erased", "passed", 0), ("destroyed", "failed", 1)])
def test_a_candidate_s_verdict_is_the_action_s(
    gate: Gate, candidate: Callable[[str], Path], policy: str, tmp_path: Path, name: str, verdict: str, status: int
) -> None:
    told = gate(checkpoint=str(candidate(name)), thresholds=policy, precisions="full", out="run here")
    assert told.status == status, told.log
    assert told.outputs == {"verdict": verdict, "status": str(status), "run-directory": "run here"}
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
    (tmp_path / policy).write_text(FULL_ONLY.replace("precision: full, at_least", "precision: [full, nf4], at_least"))
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
    told = gate(checkpoint="nothing", thresholds=policy, out="x\nverdict=passed")
    assert told.outputs["verdict"] == "error"
    assert told.status == 4


def test_the_verdict_fails_without_a_check() -> None:
    """Were the check's outputs ever empty, the last step must not succeed."""
    text = (ACTION / "action.yml").read_text(encoding="utf-8")
    assert 'exit "${STATUS:-3}"' in text


def test_workflows_are_clean() -> None:
    tools = Path(sys.executable).parent
    files = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    done = subprocess.run([tools / "actionlint", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    done = subprocess.run(
        [tools / "zizmor", "--offline", ROOT / ".github"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_foreign_action_is_pinned_by_commit() -> None:
    for path in [*(ROOT / ".github").rglob("*.yml")]:
        for used in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert used.startswith("$/") or "OWNER" in used or re.search(r"@[0-9a-f]{40}$", used), (
                f"{path.name}: {used}"
            )


@pytest.fixture
def played(environment: dict[str, str], tmp_path: Path) -> Gate:
    """The action around a `check` that ends with a given status and leaves a given run; all else is real."""

    def run(status: int, verdict: str, **inputs: str) -> Played:
        made, scores = MADE[verdict]
        write_run(made, scores, tmp_path / "unlearn-guard-run")
        shim = tmp_path / "bin" / "python"
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(
            f'#!/bin/sh\nprintf "%s|" "$@" >> {tmp_path}/asked\necho >> {tmp_path}/asked\n'
            f'case "$2 $3" in "pip install") exit 0 ;; "unlearn_guard check") exit {status} ;; esac\n'
            f'exec {sys.executable} "$@"\n'
        )
        shim.chmod(0o755)
        path = f"{shim.parent}:{environment['PATH']}"
        return play(ACTION, inputs, tmp_path, environment | {"PATH": path, "PYTHONPATH": str(ROOT)})

    return run


MADE = {
    "passed": made_run(),
    "failed": made_run(scores=made_scores(forget_nf4=85)),
    "incomplete": made_run(scores=[score for score in made_scores() if score.precision == "full"]),
}


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
    assert pip == "-m|pip|install|--disable-pip-version-check|-c|c.txt|x[y]|"
    assert check == (
        f"-m|unlearn_guard|check|--out|unlearn-guard-run|--quiet|--base|{odd}|--precisions|full,nf4|--|--limit {odd}|"
    )
