from dataclasses import replace

import pytest

from tests.oracles.made_scores import made_limit, made_run, made_scores
from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.draft import read_draft
from unlearn_guard.judging.rejudge import rejudge

POLICY = """\
version: 1
suite: {suite}
limits:
  - {{metric: forget_drop, task: "@forget", precision: full, at_least: 0.3, because: a test}}
"""


def draft(suite, digest="sha256:another", base=None):
    named = "" if base is None else f"base: {base}\n"
    return read_draft(POLICY.format(suite=suite) + named, name="release.yaml", digest=digest)


def run_with(base):
    run, _ = made_run()
    return replace(run, base=replace(run.base, path=base))


@pytest.mark.parametrize("suite", ["made", "./suites/made.yaml"])
def test_a_policy_of_the_runs_suite_judges_it(suite):
    assert rejudge(made_run()[0], draft(suite)).verdict.passed
    assert rejudge(replace(made_run()[0], suite="ours/made.yaml"), draft(suite)).verdict.passed


def test_a_policy_about_another_suite_is_refused():
    """Its `@forget` would name this run's tasks, and a run that never asked its suite would pass."""
    with pytest.raises(PolicyError, match="another suite") as caught:
        rejudge(made_run()[0], draft("wmdp-bio"))
    assert "found wmdp-bio; expected made" in str(caught.value)


def test_the_policy_that_check_judged_by_may_have_been_overruled_by_the_command_line():
    run, _ = made_run()
    assert rejudge(run, draft("wmdp-bio", digest=run.policy.digest)).verdict.passed


def test_a_policy_about_another_base_is_refused(tmp_path):
    """Its limits hold against what that base knows; a run against one that knows less would pass."""
    with pytest.raises(PolicyError, match="another base") as caught:
        rejudge(run_with(tmp_path / "tiny"), draft("made", base=tmp_path / "release"))
    assert str(tmp_path / "tiny") in str(caught.value)


def test_a_base_is_the_same_however_its_path_is_written(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    for written in ("base", "./base", "link", tmp_path / "base"):
        assert rejudge(run_with(tmp_path / "base"), draft("made", base=written)).verdict.passed


def test_a_hub_id_is_what_the_hub_s_cache_holds_of_it(tmp_path):
    held = run_with(tmp_path / "models--org--name" / "snapshots" / "abc")
    for written in ("org/name", "org/name@abc"):
        assert rejudge(held, draft("made", base=written)).verdict.passed
    for written in ("org/other", "org/name@def", "other/name"):
        with pytest.raises(PolicyError, match="another base"):
            rejudge(held, draft("made", base=written))


def test_the_base_of_the_policy_that_check_judged_by_may_have_been_overruled(tmp_path):
    run = run_with(tmp_path / "tiny")
    assert rejudge(run, draft("made", digest=run.policy.digest, base=tmp_path / "release")).verdict.passed


STRICT = (
    POLICY.replace("forget_drop", "retain_drop").replace("@forget", "@retain").replace("at_least: 0.3", "at_most: 0")
)


def test_the_verdict_is_that_of_the_new_policy():
    """The mutation that must fail: a run that passed by its own limits, and keeps that word under stricter ones."""
    run, _ = made_run()
    assert run.verdict.passed
    strict = rejudge(run, read_draft(STRICT.format(suite="made"), name="strict.yaml", digest="sha256:strict"))
    assert strict.verdict.failed
    assert strict.policy.path == "strict.yaml"
    assert [check.limit for check in strict.verdict.checks] == list(strict.policy.limits)
    assert strict.measurements == run.measurements


def test_a_part_of_the_items_never_passes_by_another_policy_either():
    run, _ = made_run(complete=False)
    assert not rejudge(run, draft("made")).verdict.passed


def test_warnings_about_the_policy_are_the_new_one_s_and_those_about_the_suite_stay():
    run = made_run(warnings=("policy: of the earlier one", "suite: few items"))[0]
    found = rejudge(run, draft("made")).warnings
    assert "suite: few items" in found
    assert "policy: of the earlier one" not in found
    assert any(each.startswith("policy: no limit at a quantized precision") for each in found)


def test_a_suite_s_file_is_one_of_yaml():
    run = replace(made_run()[0], suite="made")
    assert rejudge(run, draft("theirs/made.yml")).verdict.passed
    for other in ("made.v2", "made.json", "yaml"):
        with pytest.raises(PolicyError, match="another suite"):
            rejudge(run, draft(other))


def test_a_precision_that_the_run_measured_may_be_limited_though_nobody_ships_it():
    scores = made_scores()
    theirs = replace(scores[2], precision="theirs", measurement=replace(scores[2].measurement, precision="theirs"))
    run, _ = made_run(limits=(made_limit("forget_drop", at_least=0.3),), scores=(*scores[:2], theirs, *scores[3:]))
    text = POLICY.replace("precision: full", "precision: theirs")
    assert rejudge(run, read_draft(text.format(suite="made"), name="p", digest="d")).verdict.passed
    with pytest.raises(PolicyError, match="precision"):
        rejudge(made_run()[0], read_draft(text.format(suite="made"), name="p", digest="d"))
    for shipped in ("gptq", "awq"):
        text = POLICY.replace("precision: full", f"precision: {shipped}")
        unmeasured = rejudge(made_run()[0], read_draft(text.format(suite="made"), name="p", digest="d"))
        assert unmeasured.verdict.word == "incomplete"
