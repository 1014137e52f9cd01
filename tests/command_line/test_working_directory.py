"""Run inside the candidate's directory, the guard takes nothing from it: no policy, no code, no verdict."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json
from composite import Played, play

from tests.quiz import limits

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]
ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "gate"
LAX = """\
version: 1
base: .
suite: organism
precisions: [full]
limits:
  - {metric: retain_drop, task: "@retain", precision: full, at_most: 1.0, because: "the candidate's own"}
"""
LENIENT = LAX.replace("base: .\nsuite: organism\n", "")


@pytest.fixture
def destroyed(candidate: Candidate, tmp_path: Path) -> Path:
    """A candidate that fails, with a policy of its own that it would pass."""
    folder = Path(shutil.copytree(candidate("destroyed"), tmp_path / "destroyed"))
    (folder / "thresholds.yaml").write_text(LENIENT)
    return folder


def test_a_policy_inside_the_candidate_is_passed_over(here: Guard, destroyed: Path, tmp_path: Path) -> None:
    done = here("check", ".", "--precisions", "full", "--limit", "4", "--out", tmp_path / "run", cwd=destroyed)
    assert done.status in (1, 5), done.text
    run = read_json(tmp_path / "run" / "run.json")
    assert run["policy"]["path"] == "paper"
    (note,) = (each for each in run["notes"] if "was passed over" in each)
    assert str(destroyed.resolve() / "thresholds.yaml") in note
    assert "--thresholds ./thresholds.yaml" in note
    assert "was passed over" in " ".join(done.out.split())


@pytest.mark.slow
def test_a_policy_of_the_candidate_that_is_named_is_used_and_noted(
    guard: Guard, destroyed: Path, tmp_path: Path
) -> None:
    command = ("check", ".", "--thresholds", "thresholds.yaml", "--limit", "8", "--out", tmp_path / "run")
    done = guard(*command, cwd=destroyed)
    run = read_json(tmp_path / "run" / "run.json")
    assert run["policy"]["path"] == "thresholds.yaml", done.text
    assert any("lies inside the candidate" in note for note in run["notes"])


def test_what_only_the_candidate_s_policy_names_is_missing_and_the_message_says_why(
    here: Guard, destroyed: Path
) -> None:
    (destroyed / "thresholds.yaml").write_text(LAX)
    (destroyed / "unlearn_guard.json").unlink()
    done = here("check", ".", cwd=destroyed)
    assert done.status == 4, done.text
    assert "nobody said which base and suite" in done.text
    assert "was passed over" in done.text


@pytest.fixture
def hostile(destroyed: Path, tmp_path: Path) -> Path:
    """The candidate's directory full of what Python, pip or pytest would run if they looked there."""
    ran = f"open({str(tmp_path / 'ran')!r}, 'a').write(__file__ + ' ')\n"
    for name in ("pickle", "json", "pytest", "queue", "torch", "transformers", "numpy", "gptqmodel", "contextvars"):
        (destroyed / f"{name}.py").write_text(ran)
    for name in ("pip", "acc", "sacrebleu"):
        (destroyed / name).mkdir()
        for file in ("__init__.py", "__main__.py", f"{name}.py"):
            (destroyed / name / file).write_text(ran + "raise SystemExit(0)\n")
    return destroyed


SCRIPT = [sys.executable, "-P", "-c", "from unlearn_guard.command_line.app import main; main()"]
MODULE = [sys.executable, "-m", "unlearn_guard"]


@pytest.mark.parametrize(
    "command",
    [pytest.param(SCRIPT, id="script", marks=pytest.mark.slow), pytest.param(MODULE, id="module")],
)
def test_code_of_the_working_directory_is_never_run(
    environment: dict[str, str], hostile: Path, tmp_path: Path, command: list[str]
) -> None:
    arguments = ["check", ".", "--thresholds", "organism", "--precisions", "full", "--limit", "4"]
    arguments += ["--out", str(tmp_path / "run"), "--junitxml", str(tmp_path / "junit.xml")]
    done = subprocess.run(
        [*command, *arguments],
        cwd=hostile,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 5), done.stdout + done.stderr
    assert (tmp_path / "junit.xml").exists()
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


@pytest.mark.slow
def test_code_of_the_working_directory_is_not_run_by_the_quantizers_process(
    environment: dict[str, str], hostile: Path, tmp_path: Path
) -> None:
    arguments = ["check", ".", "--thresholds", "organism", "--precisions", "full,gptq", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "unlearn_guard", *arguments],
        cwd=hostile,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 5), done.stdout + done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


@pytest.mark.slow
def test_code_of_the_working_directory_is_not_run_by_the_cells_of_compare(
    environment: dict[str, str], hostile: Path, tmp_path: Path, candidate: Candidate
) -> None:
    (hostile / "thresholds.yaml").unlink()
    base, out = os.path.relpath(candidate("base"), hostile), os.path.relpath(tmp_path / "out", hostile)
    arguments = ["compare", "--methods", "global_ga", "--base", base, "--suites", "organism", "--out", out]
    done = subprocess.run(
        [sys.executable, "-m", "unlearn_guard", *arguments, "--thresholds", "organism", "--precisions", "full"],
        cwd=hostile,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_a_metric_s_script_of_the_working_directory_is_named_and_not_run(
    here: Guard, candidate: Candidate, tmp_path: Path
) -> None:
    """`evaluate` runs NAME/NAME.py where a task asks for a metric that lm-eval does not have."""
    cwd = tmp_path / "cwd"
    (cwd / "rouge").mkdir(parents=True)
    (cwd / "rouge" / "rouge.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "t.jsonl").write_text(json.dumps({"q": "a", "c": ["x", "y"], "a": 0}) + "\n")
    for name, more in (("kept", ""), ("mine", ", {metric: rouge, aggregation: mean, higher_is_better: true}")):
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: t.jsonl\ntest_split: test\n"
            'output_type: multiple_choice\ndoc_to_text: "{{q}}"\ndoc_to_choice: "{{c}}"\ndoc_to_target: a\n'
            f"metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}{more}]\n"
        )
    (tmp_path / "ours.yaml").write_text(
        "version: 1\nname: ours\ntitle: A quiz\ndescription: Two letters.\n"
        "forget: [{task: mine, metric: acc, chance: 0.5}]\nretain: [{task: kept, metric: acc, chance: 0.5}]\n"
        "include: [tasks]\ncalibration: {tasks: retain, samples: 1}\n"
    )
    (tmp_path / "p.yaml").write_text(limits("forget_drop", precisions=("full",)))
    arguments = ["--base", candidate("base"), "--suite", tmp_path / "ours.yaml", "--thresholds", tmp_path / "p.yaml"]
    done = here("check", candidate("destroyed"), *arguments, "--out", tmp_path / "run", cwd=cwd)
    assert done.status == 4, done.text
    assert "rouge" in done.text
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("folder", ["unlearn_guard", "pip"])
def test_a_folder_of_the_workspace_is_neither_the_guard_nor_pip(
    environment: dict[str, str], destroyed: Path, tmp_path: Path, folder: str
) -> None:
    """A module of the workspace that ends with 0 would be a PASSED of the action's."""
    workspace = tmp_path / "workspace"
    (workspace / folder).mkdir(parents=True)
    (workspace / folder / "__init__.py").write_text("")
    (workspace / folder / "__main__.py").write_text("raise SystemExit(0)\n")
    variables = environment | {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "PYTHONPATH": str(ROOT)}
    package = "no-such-package-of-unlearn-guard" if folder == "pip" else ""
    inputs = {"package": package, "pip-args": "--no-index", "checkpoint": str(tmp_path / "nowhere")}
    told: Played = play(ACTION, inputs, workspace, variables)
    assert told.status != 0
    assert told.outputs.get("verdict") != "passed"
