from dataclasses import replace

import pytest

from tests.oracles.made_scores import made_run
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
