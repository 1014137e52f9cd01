"""The plug-in in real pytest processes, as a user's project would run it."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.oracles.made_scores import made_run, made_scores
from unlearn_guard.errors import MeasurementError
from unlearn_guard.pytest_plugin import write_junit
from unlearn_guard.runs.directory import write_run

ROOT = Path(__file__).resolve().parents[2]
POLICY = """\
version: 1
limits:
  - {metric: forget_drop, task: "@forget", precision: full, at_least: 0.30, because: Figure 3 F}
  - {metric: ptq_gap, task: "@forget", precision: [nf4, gptq], at_most: 0.0, because: Figure 3 Q}
  - {metric: retain_drop, task: "@retain", precision: full, at_most: 0.01, confidence: 0.95, because: ours}
"""


@pytest.fixture
def project(tmp_path):
    """A policy beside a run: forget holds, nf4's gap is broken, gptq was not measured, retain is undecided."""
    run, scores = made_run(scores=made_scores(forget_nf4=25))
    write_run(run, scores, tmp_path / "run")
    (tmp_path / "thresholds.yaml").write_text(POLICY)
    return tmp_path


def pytest_in(folder, *arguments, cache=False):
    """`python -m pytest` there, with our plug-in and xdist alone."""
    command = [sys.executable, "-m", "pytest", "-p", "unlearn_guard.pytest_plugin", "-p", "xdist.plugin"]
    command += [] if cache else ["-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", "--rootdir", str(folder), *arguments]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_one_limit_is_one_item(project):
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "-v")
    assert done.returncode == 1
    assert "thresholds.yaml::forget_drop[forget_task-full] PASSED" in done.stdout
    assert "thresholds.yaml::ptq_gap[forget_task-nf4] FAILED" in done.stdout
    assert "3 failed, 1 passed" in done.stdout


def test_a_failure_says_value_limit_margin_source_and_next_step(project):
    text = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run").stdout
    assert "Traceback" not in text
    assert "FAILED ptq_gap[forget_task-nf4]" in text
    assert "value   0.050" in text
    assert "limit   <= 0.0" in text
    assert "margin  -0.050" in text
    assert "because Figure 3 Q" in text
    assert "next    Quantizing to nf4" in text


def test_unmeasured_and_inconclusive_fail_each_in_its_own_words(project):
    text = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "-rA").stdout
    assert "NOT MEASURED ptq_gap[forget_task-gptq]" in text
    assert "INCONCLUSIVE retain_drop[retain_task-full]" in text
    assert "skipped" not in text


def test_k_selects_by_id(project):
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "-k", "forget_drop")
    assert done.returncode == 5
    assert "1 passed, 3 deselected" in done.stdout
    assert pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "-k", "nothing").returncode == 5


def test_a_node_id_selects_one(project):
    arguments = ("thresholds.yaml::forget_drop[forget_task-full]", "--unlearn-run", "run")
    done = pytest_in(project, *arguments)
    assert (done.returncode, "1 passed" in done.stdout) == (5, True)
    done = pytest_in(project, *arguments, "--unlearn-partial")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True)


def test_xdist_shares_the_limits_out(project):
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "-n", "2")
    assert done.returncode == 1
    assert "3 failed, 1 passed" in done.stdout


def test_junit_names_each_limit(project):
    pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "--junitxml", "out.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(project / "out.xml").iter("testcase")}
    assert set(cases) == {
        "forget_drop[forget_task-full]",
        "ptq_gap[forget_task-nf4]",
        "ptq_gap[forget_task-gptq]",
        "retain_drop[retain_task-full]",
    }
    assert "value   0.050" in cases["ptq_gap[forget_task-nf4]"].find("failure").get("message")
    properties = {p.get("name"): p.get("value") for p in cases["ptq_gap[forget_task-nf4]"].iter("property")}
    assert properties["property"] == "permanence"
    assert properties["outcome"] == "failed"


def test_write_junit_ignores_what_lies_around(project):
    (project / "conftest.py").write_text("raise RuntimeError('not to be imported')")
    (project / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    write_junit(project / "run", project / "thresholds.yaml", project / "junit.xml")
    (suite,) = ElementTree.parse(project / "junit.xml").iter("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("unlearn-guard", "4", "3")
    write_junit(project / "run", "paper", project / "paper.xml")
    assert (project / "paper.xml").is_file()


def test_write_junit_of_no_run_is_an_error(project):
    with pytest.raises(MeasurementError, match="did not write"):
        write_junit(project / "none", project / "thresholds.yaml", project / "junit.xml")


def test_a_partial_run_passes_nothing(project):
    write_run(*made_run(complete=False), project / "run")
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", "-k", "forget_drop")
    assert done.returncode == 1
    assert "PARTIAL RUN forget_drop[forget_task-full]" in done.stdout


def test_without_options_a_policy_is_not_a_test(project):
    (project / "test_one.py").write_text("def test_one(): pass")
    done = pytest_in(project)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True)
    assert pytest_in(project, "thresholds.yaml").returncode in (4, 5)


def test_a_directory_s_policy_is_found(project):
    (project / "other.yaml").write_text("not: ours")
    done = pytest_in(project, "--unlearn-run", "run")
    assert "3 failed, 1 passed" in done.stdout


def test_a_broken_policy_is_a_collection_error(project):
    (project / "thresholds.yaml").write_text(POLICY.replace("at_most", "at_mots", 1))
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run")
    assert done.returncode == 2
    assert "thresholds.yaml:4: found unknown key 'at_mots'" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_missing_run_is_a_collection_error(project):
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "none")
    assert done.returncode == 2
    assert "not a run directory" in done.stdout


@pytest.mark.parametrize("more", [[], ["-n", "2"], pytest.param(["--tx", "2*popen"], marks=pytest.mark.slow)])
def test_a_run_that_nothing_judges_is_a_usage_error(project, more):
    (project / "thresholds.yaml").unlink()
    (project / "test_one.py").write_text("def test_one(): pass")
    done = pytest_in(project, "--unlearn-run", "run", *more)
    assert done.returncode == 4
    assert "nothing judges it" in done.stdout + done.stderr


def test_the_fixture_is_the_run(project):
    (project / "test_run.py").write_text("def test_run(unlearn_run): assert unlearn_run.suite == 'made'")
    write_run(*made_run(), project / "run")
    assert pytest_in(project, "test_run.py", "--unlearn-run", "run").returncode == 0
    done = pytest_in(project, "test_run.py")
    assert done.returncode == 1
    assert "needs --unlearn-run" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--unlearn-run", "run", "--unlearn-checkpoint", "x"], "exclude each other"),
        (["--unlearn-base", "x"], "needs --unlearn-checkpoint"),
        (["--unlearn-out", "x", "--unlearn-run", "run"], "needs --unlearn-checkpoint"),
        (["--unlearn-candidate", "x"], "needs --unlearn-run"),
    ],
)
def test_options_that_contradict_each_other(project, arguments, said):
    done = pytest_in(project, "thresholds.yaml", *arguments)
    assert done.returncode == 4
    assert said in done.stderr


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_checkpoint_is_measured_once(project, workers):
    """With xdist too: the controller measures, the workers read."""
    (project / "stub.py").write_text(
        "import shutil, sys, types\n"
        "pipeline = types.ModuleType('unlearn_guard.checking.pipeline')\n"
        "request = types.ModuleType('unlearn_guard.checking.request')\n"
        "request.Request = lambda **options: types.SimpleNamespace(**options)\n"
        "def check(request):\n"
        "    with open('calls', 'a') as file: file.write(repr(sorted(vars(request).items())) + chr(10))\n"
        "    shutil.copytree('run', request.out)\n"
        "    return None, request.out\n"
        "pipeline.check = check\n"
        "sys.modules['unlearn_guard.checking.pipeline'] = pipeline\n"
        "sys.modules['unlearn_guard.checking.request'] = request\n"
    )
    arguments = ["--unlearn-checkpoint", "ckpt", "--unlearn-base", "b", "--unlearn-precisions", "full,nf4"]
    done = pytest_in(project, "-p", "stub", "thresholds.yaml", *arguments, *workers)
    assert "3 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    (call,) = (project / "calls").read_text().splitlines()
    for said in ("('checkpoint', 'ckpt')", "('base', 'b')", "('precisions', ('full', 'nf4'))", "thresholds.yaml"):
        assert said in call


def test_the_plug_in_imports_nothing_until_it_is_used():
    heavy = ("torch", "rich", "pydantic", "ruamel", "numpy", "scipy", "unlearn_guard.records")
    code = f"import sys, unlearn_guard.pytest_plugin\nprint([m for m in {heavy} if m in sys.modules])"
    plain = "import sys, pytest\n" + code.replace(", unlearn_guard.pytest_plugin", "")
    loaded = [
        subprocess.run([sys.executable, "-c", each], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for each in (plain, code)
    ]
    assert loaded[0] == loaded[1]


def test_a_policy_without_a_run_says_what_to_give(project):
    for name in ("thresholds.yaml", "release.yaml"):
        (project / name).write_text(POLICY)
        done = pytest_in(project, name)
        assert done.returncode == 4
        assert f"{name} is a policy" in done.stderr
        assert "--unlearn-run DIR" in done.stderr
    (project / "other.yaml").write_text("stages: []")
    assert "is a policy" not in pytest_in(project, "other.yaml").stderr


def test_a_failed_assertion_names_the_limits(project):
    (project / "test_run.py").write_text("def test_run(unlearn_run): assert unlearn_run.verdict.passed")
    run, scores = made_run(scores=made_scores(forget_nf4=85))
    write_run(run, scores, project / "broken")
    done = pytest_in(project, "test_run.py", "--unlearn-run", "broken")
    assert done.returncode == 1
    assert "<Verdict failed: ptq_gap[forget_task-nf4] failed" in done.stdout


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_the_summary_shows_value_and_limit(project, workers):
    done = pytest_in(project, "thresholds.yaml", "--unlearn-run", "run", *workers)
    assert "FAILED thresholds.yaml::ptq_gap[forget_task-nf4] - 0.050, limit <= 0.0" in done.stdout


def test_names_hold_outside_of_the_root(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = pytest_in(
        elsewhere, str(project / "thresholds.yaml"), "--unlearn-run", str(project / "run"), "-v", "--junitxml", "j.xml"
    )
    assert "thresholds.yaml::ptq_gap[forget_task-nf4] FAILED" in done.stdout
    cases = ElementTree.parse(elsewhere / "j.xml").findall(".//testcase")
    assert {case.get("classname") for case in cases} == {"thresholds.yaml"}
