"""A pytest session that asked part of a run's limits, or whose run is not passed, says so and never ends with 0."""

import shutil
from dataclasses import replace

import pytest

from tests.oracles.made_scores import CANDIDATE, made_run, made_scores
from tests.pytest_plugin.test_pytest_plugin import POLICY, pytest_in
from unlearn_guard.intake import file_digests, open_checkpoint
from unlearn_guard.organism import base_path
from unlearn_guard.runs.directory import write_run

GAP, FORGET, RETAIN = "ptq_gap[forget_task-nf4]", "forget_drop[forget_task-full]", "retain_drop[retain_task-full]"
GPTQ = "ptq_gap[forget_task-gptq]"
WORKERS = pytest.mark.parametrize("workers", [[], pytest.param(["-n", "2"], marks=pytest.mark.slow)], ids=str)
HELD = POLICY.replace("[nf4, gptq]", "nf4").replace("at_most: 0.01, confidence: 0.95", "at_most: 0.15")
"""Three limits, all of which the passing run holds."""

MARKED = """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.{})
"""
REPORTED = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    report.outcome, report.longrepr = "passed", None
"""
DROPPED = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "nf4" not in item.name]
"""
UNRUN = """
def pytest_runtest_protocol(item, nextitem):
    return True
"""
ENDED = """
import pytest
def pytest_runtest_setup(item):
    pytest.exit("enough", returncode=0)
"""
OPTIMISTIC = """
def pytest_sessionfinish(session):
    session.exitstatus = 0
"""


@pytest.fixture
def failed(tmp_path):
    """A run that breaks nf4's gap, beside its policy: the other two limits hold."""
    write_run(*made_run(scores=made_scores(forget_nf4=25)), tmp_path / "run")
    (tmp_path / "thresholds.yaml").write_text(HELD)
    return tmp_path


@pytest.fixture
def passed(tmp_path):
    """A run that holds all three limits, beside its policy."""
    write_run(*made_run(), tmp_path / "run")
    (tmp_path / "thresholds.yaml").write_text(HELD)
    return tmp_path


def asked(folder, *arguments, policy="thresholds.yaml", **how):
    return pytest_in(folder, policy, "--unlearn-run", "run", *arguments, **how)


def unasked(done):
    """The limits that the session's last section names."""
    section = done.stdout.partition("unlearn-guard: not asked, or not held")[2]
    return {name for name in (GAP, FORGET, RETAIN, GPTQ) if f"  {name}: " in section}


@pytest.mark.parametrize(
    "workers", [[], ["-n", "2"], pytest.param(["--tx", "2*popen", "--dist", "each"], marks=pytest.mark.slow)]
)
def test_all_asked_and_held_ends_with_0_and_says_nothing_more(passed, workers):
    done = asked(passed, *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not asked" not in done.stdout


@WORKERS
@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["-k", "full"], {GAP}),
        (["-k", "not nf4"], {GAP}),
        (["--deselect", f"thresholds.yaml::{GAP}"], {GAP}),
        (["-m", "slow"], {GAP, FORGET, RETAIN}),
        (["--collect-only"], {GAP, FORGET, RETAIN}),
        (["--setup-only"], {GAP, FORGET, RETAIN}),
        (["--maxfail", "1", "-k", "full"], {GAP}),
        (["-o", "addopts=-k full"], {GAP}),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else f"{len(each)} left",
)
def test_a_limit_that_is_not_asked_is_named_and_the_session_is_no_pass(failed, arguments, left, workers):
    done = asked(failed, *arguments, *workers)
    assert done.returncode == 5, done.stdout + done.stderr
    assert unasked(done) == left
    if "-k" in arguments:
        assert f"  {GAP}: FAILED" in done.stdout


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_passed_run_that_is_not_wholly_asked_is_no_pass_either_unless_that_is_meant(passed, workers):
    done = asked(passed, "-k", "forget_drop", *workers)
    assert (done.returncode, unasked(done)) == (5, {GAP, RETAIN})
    assert "--unlearn-partial" in done.stdout
    done = asked(passed, "-k", "forget_drop", "--unlearn-partial", *workers)
    assert (done.returncode, unasked(done)) == (0, {GAP, RETAIN})


def test_a_node_id_leaves_the_others_unasked(passed):
    done = asked(passed, policy=f"thresholds.yaml::{FORGET}")
    assert (done.returncode, unasked(done)) == (5, {GAP, RETAIN})


@WORKERS
@pytest.mark.parametrize(
    ("conftest", "status", "named"),
    [
        (MARKED.format("xfail(reason='known')"), 1, {GAP}),
        (MARKED.format("xfail(run=False)"), 5, {GAP, FORGET, RETAIN}),
        (MARKED.format("skip"), 5, {GAP, FORGET, RETAIN}),
        (REPORTED, 1, {GAP}),
        (DROPPED, 5, {GAP}),
        (UNRUN, 5, {GAP, FORGET, RETAIN}),
        (REPORTED + OPTIMISTIC, 1, {GAP}),
    ],
    ids=["xfail", "xfail-norun", "skip", "reported", "dropped", "unrun", "optimistic"],
)
def test_what_a_conftest_does_to_items_and_reports_opens_nothing(failed, conftest, status, named, workers):
    (failed / "conftest.py").write_text(conftest)
    done = asked(failed, *workers)
    assert done.returncode == status, done.stdout + done.stderr
    assert unasked(done) == named
    assert asked(failed, *workers, "--unlearn-partial").returncode == (1 if status == 1 else 0)


def test_a_session_that_is_ended_early_with_0_is_no_pass(failed):
    (failed / "conftest.py").write_text(ENDED)
    done = asked(failed)
    assert done.returncode == 5
    assert GAP in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--lf", "--stepwise"])
def test_what_failed_before_is_not_all(failed, option):
    def again(*arguments):
        return asked(failed, "test_one.py", "-o", "cache_dir=kept", *arguments, cache=True)

    (failed / "test_one.py").write_text("def test_one(unlearn_run): assert 0")
    write_run(*made_run(), failed / "run")
    assert again("--stepwise").returncode != 0
    (failed / "test_one.py").write_text("def test_one(unlearn_run): pass")
    done = again(option)
    assert (done.returncode, unasked(done)) == (5, {GAP, FORGET, RETAIN}), done.stdout
    assert again().returncode == 0


@WORKERS
def test_a_fixture_test_that_asserts_nothing_passes_no_failed_run(failed, workers):
    (failed / "test_run.py").write_text("def test_run(unlearn_run): pass")
    done = asked(failed, *workers, policy="test_run.py")
    assert done.returncode == 1, done.stdout
    assert unasked(done) == {GAP}
    assert "not passed by its own policy" in done.stdout
    done = asked(failed, *workers, "--unlearn-partial", policy="test_run.py")
    assert (done.returncode, unasked(done)) == (0, {GAP})
    done = asked(failed, *workers, "--ignore", "thresholds.yaml", policy=".")
    assert done.returncode == 1


def test_a_fixture_that_is_asked_for_by_name_counts_as_use(failed):
    (failed / "test_run.py").write_text(
        "def test_run(request): request.getfixturevalue('unlearn_run')\ndef test_too(unlearn_run): pass"
    )
    assert asked(failed, "-k", "test_run", policy="test_run.py").returncode != 0


def test_an_incomplete_run_is_not_established(tmp_path):
    write_run(*made_run(scores=[each for each in made_scores() if each.precision == "full"]), tmp_path / "run")
    (tmp_path / "test_run.py").write_text("def test_run(unlearn_run): pass")
    done = asked(tmp_path, policy="test_run.py")
    assert (done.returncode, unasked(done)) == (5, {GAP})
    assert f"  {GAP}: NOT MEASURED" in done.stdout


def test_of_several_policies_each_is_asked_wholly(passed):
    (passed / "other.yaml").write_text(HELD.replace("0.30", "0.20"))
    assert asked(passed, "other.yaml").returncode == 0
    done = asked(passed, f"other.yaml::{FORGET}")
    assert (done.returncode, unasked(done)) == (5, {GAP, RETAIN})
    assert "other.yaml: 2 of 3 limits were not asked" in done.stdout


def test_a_worse_status_stays(failed):
    done = asked(failed)
    assert done.returncode == 1
    assert unasked(done) == set(), "pytest's own report names it"
    done = asked(failed, "-x")
    assert (done.returncode, unasked(done)) == (1, {RETAIN})
    (failed / "thresholds.yaml").write_text("limits: []")
    assert asked(failed).returncode == 2


@WORKERS
def test_without_a_terminal_the_status_and_the_words_are_the_same(failed, workers):
    done = asked(failed, "-p", "no:terminal", "-k", "full", *workers)
    assert done.returncode == 5, done.stdout + done.stderr
    assert GAP in done.stderr
    write_run(*made_run(), failed / "run")
    assert asked(failed, "-p", "no:terminal", *workers).returncode == 0


@pytest.mark.parametrize("more", [["-q"], ["-qq"], ["--no-summary"], ["--no-header"], ["--junitxml", "x.xml"]])
def test_however_little_is_printed_what_was_not_asked_is(failed, more):
    done = asked(failed, "-k", "full", *more)
    assert done.returncode == 5
    assert f"  {GAP}: FAILED" in done.stdout + done.stderr


@WORKERS
def test_the_header_names_candidate_digest_verdict_and_policies(failed, workers):
    text = asked(failed, *workers).stdout
    assert f"unlearn-guard: {failed / 'run'}" in text
    assert f"candidate: candidate, {CANDIDATE}" in text
    assert "verdict: failed, by its own policy thresholds.yaml (sha256:" in text
    assert "asked here: thresholds.yaml" in text
    (failed / "test_run.py").write_text("def test_run(unlearn_run): pass")
    assert "or else its own policy" in asked(failed, policy="test_run.py").stdout


@pytest.fixture
def tied(tmp_path):
    """A run of a real model, whose files are named and whose directory is beside it."""
    model = tmp_path / "model"
    shutil.copytree(base_path(), model)
    digest = open_checkpoint(str(model)).checkpoint.digest
    scores = [
        each
        if each.subject != CANDIDATE
        else replace(each, subject=digest, measurement=replace(each.measurement, subject=digest))
        for each in made_scores()
    ]
    run, scores = made_run(scores=scores, subject=digest)
    run = replace(run, candidate=replace(run.candidate, path=model, files=file_digests(model)))
    write_run(run, scores, tmp_path / "run")
    (tmp_path / "thresholds.yaml").write_text(HELD)
    return tmp_path


@WORKERS
def test_a_candidate_ties_the_run_to_its_bytes(tied, workers):
    assert asked(tied, "--unlearn-candidate", "model", *workers).returncode == 0
    (tied / "model" / "README.md").write_text("a card")
    assert asked(tied, "--unlearn-candidate", "model", *workers).returncode == 0
    (tied / "model" / "pytorch_model.bin").write_bytes(b"\0other weights")
    done = asked(tied, "--unlearn-candidate", "model", *workers)
    assert done.returncode == 4
    assert "pytorch_model.bin" in done.stderr
    assert "not judged" in done.stderr


def test_a_run_of_another_candidate_is_refused(tied):
    data = bytearray((tied / "model" / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (tied / "model" / "model.safetensors").write_bytes(data)
    done = asked(tied, "--unlearn-candidate", "model")
    assert done.returncode == 4
    assert "model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr
    assert asked(tied, "--unlearn-candidate", "none").returncode == 4


def test_a_run_that_names_no_files_ties_to_nothing(passed):
    done = asked(passed, "--unlearn-candidate", ".")
    assert done.returncode == 4
    assert "does not say which files" in done.stderr
