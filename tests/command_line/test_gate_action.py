"""The composite action, its steps run here with the files that GitHub's runner would give them."""

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command import read_json
from composite import Played, play

from tests.oracles.made_scores import made_run, made_scores
from unlearn_guard.judging.gate import judge
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
    assert told.outputs == {
        "verdict": verdict,
        "status": str(status),
        "run-directory": "run here",
        "digest": read_json(tmp_path / "run here" / "run.json")["candidate"]["digest"],
        "run-digest": _sha256(tmp_path / "run here" / "run.json"),
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
    for between in ("\n", "\r", "\x0b", "\x85", "\u2028"):
        told = gate(checkpoint="nothing", thresholds=policy, out=f"x{between}verdict=passed")
        assert (told.outputs["verdict"], told.status) == ("error", 4), repr(between)
        assert told.outputs["run-directory"] == ""


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

    def run(status: int, verdict: str, out: str = "unlearn-guard-run", **inputs: str) -> Played:
        if verdict:
            made, scores = MADE[verdict]
            write_run(made, scores, tmp_path / "made")
        left = f"cp -r {tmp_path}/made/. {shlex.quote(out)}; " if verdict else ""
        shim = tmp_path / "bin" / "python"
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(
            f'#!/bin/sh\nprintf "%s|" "$@" >> {tmp_path}/asked\necho >> {tmp_path}/asked\n'
            f'case "$3 $4" in "pip install") exit 0 ;; "unlearn_guard check") mkdir -p {shlex.quote(out)}; '
            f"{left}exit {status} ;; esac\n"
            f'exec {sys.executable} "$@"\n'
        )
        shim.chmod(0o755)
        path = f"{shim.parent}:{environment['PATH']}"
        return play(ACTION, inputs | {"out": out}, tmp_path, environment | {"PATH": path, "PYTHONPATH": str(ROOT)})

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
    assert pip == "-P|-m|pip|install|--disable-pip-version-check|-c|c.txt|x[y]|"
    assert check == (
        "-P|-m|unlearn_guard|check|--out|unlearn-guard-run|--replace|--quiet|"
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
    assert told.outputs["run-digest"] == _sha256(tmp_path / "run" / "run.json")
    assert told.outputs["run-directory"] == "run"


def test_a_linked_run_directory_is_made_anew_and_what_it_led_to_left_alone(played: Gate, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_run(*MADE["passed"], elsewhere)
    before = _sha256(elsewhere / "run.json")
    (tmp_path / "unlearn-guard-run").symlink_to(elsewhere)
    told = played(1, "failed", checkpoint="model")
    assert (told.status, told.outputs["verdict"]) == (1, "failed")
    assert not (tmp_path / "unlearn-guard-run").is_symlink()
    assert _sha256(elsewhere / "run.json") == before


def _sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


LIES = "import sys\nopen({ran!r}, 'a').write(__name__ + ' ')\nif __name__ == '__main__': sys.exit(0)\n"
MODULES = ("torch", "pytest", "sitecustomize", "usercustomize", "conftest", "json", "pickle", "transformers", "click")
PYTHON = {"PYTHONSTARTUP": "startup.py", "PYTHONPYCACHEPREFIX": "cache", "PYTHONUSERBASE": "user"}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A workspace full of what could stand in for the guard, or speak for it."""
    lies = LIES.format(ran=str(tmp_path / "ran"))
    for package in ("unlearn_guard", "pip", "torch", "src/unlearn_guard"):
        (tmp_path / package).mkdir(parents=True)
        for name in ("__init__.py", "__main__.py", "cli.py", "pytest_plugin.py"):
            (tmp_path / package / name).write_text(lies)
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(lies)
        (tmp_path / "src" / f"{name}.py").write_text(lies)
    (tmp_path / "startup.py").write_text(lies)
    site = tmp_path / "user" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "usercustomize.py").write_text(lies)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only -p conftest\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--collect-only'\n")
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = file:///nowhere\n")
    (tmp_path / ".env").write_text("PYTHONPATH=.\nSTATUS=0\nVERDICT=passed\n")
    write_run(*MADE["passed"], tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "report.md").write_text("## Passed\nverdict=passed\n")
    (tmp_path / "unlearn-guard-run").symlink_to("elsewhere")
    return tmp_path


def _hostile_environment(environment: dict[str, str], workspace: Path) -> dict[str, str]:
    """What the job's author set for the project's own sake, and what it must not come to here."""
    places = f".:src:{workspace}:{workspace / 'src'}::{ROOT}"
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    pytest_ = {"PYTEST_ADDOPTS": "--collect-only", "PYTEST_PLUGINS": "conftest"}
    user = PYTHON | {"PYTHONUSERBASE": str(workspace / "user")}
    return environment | user | pytest_ | {"PATH": path, "PYTHONPATH": places}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verdict", "status"), [("erased", "passed", 0), ("destroyed", "failed", 1)])
def test_a_hostile_workspace_changes_no_verdict(
    hostile: Path, environment: dict[str, str], candidate: Callable[[str], Path], name: str, verdict: str, status: int
) -> None:
    model = Path(shutil.copytree(candidate(name), hostile / "model"))
    (model / "thresholds.yaml").write_text(FULL_ONLY.replace("0.15", "1.0").replace("0.30", "0.0"))
    (hostile / "ours.yaml").write_text(FULL_ONLY)
    inputs = {"package": "", "checkpoint": "model", "thresholds": "ours.yaml", "precisions": "full"}
    told = play(ACTION, inputs, hostile, _hostile_environment(environment, hostile))
    assert (told.status, told.outputs["verdict"]) == (status, verdict), told.log
    held = read_json(hostile / "unlearn-guard-run" / "run.json")
    assert told.outputs["digest"] == held["candidate"]["digest"]
    assert not (hostile / "ran").exists(), (hostile / "ran").read_text()
    again = play(ACTION, inputs | {"thresholds": "paper"}, hostile, _hostile_environment(environment, hostile))
    assert again.outputs["verdict"] in ("incomplete", "failed"), "a reused workspace is measured, not refused"
    assert again.outputs["run-digest"] != told.outputs["run-digest"]


def test_nothing_of_a_hostile_workspace_is_run_where_there_is_no_candidate(
    hostile: Path, environment: dict[str, str]
) -> None:
    inputs = {"package": "no-such-package-of-unlearn-guard", "pip-args": "--no-index", "checkpoint": "nowhere"}
    told = play(ACTION, inputs, hostile, _hostile_environment(environment, hostile))
    assert told.status != 0
    assert "no-such-package" in told.log, "pip itself was asked"
    told = play(ACTION, inputs | {"package": ""}, hostile, _hostile_environment(environment, hostile))
    assert (told.status, told.outputs["verdict"]) == (4, "error"), told.log
    assert "Passed" not in told.summary
    assert not (hostile / "ran").exists(), (hostile / "ran").read_text()


def test_a_place_outside_the_workspace_stays_on_python_s_path(
    hostile: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("own")
    (hostile / "inside").symlink_to(own)
    (own / "outside").symlink_to(hostile)
    places = f"{own}:{own / 'outside'}:{hostile / 'x'}:{own}/../{own.name}:.:{hostile / '..' / hostile.name}"
    done = subprocess.run(
        ["bash", "-uc", '. "$GITHUB_ACTION_PATH/safe.sh"; echo "$PYTHONPATH"'],
        cwd=hostile,
        env=environment | {"PYTHONPATH": places, "GITHUB_ACTION_PATH": str(ACTION), "GITHUB_WORKSPACE": str(hostile)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{own}:{own}/../{own.name}"


def test_every_python_of_the_action_has_a_safe_path() -> None:
    for path in ACTION.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"(?<![\w-])(?:\$\w+/)?python3? ", line.partition("#")[0]) and path.suffix != ".yml":
                assert "python -P -m " in line, f"{path.name}: {line}"
