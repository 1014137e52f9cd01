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


def draft(suite, digest="sha256:another"):
    return read_draft(POLICY.format(suite=suite), name="release.yaml", digest=digest)


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
