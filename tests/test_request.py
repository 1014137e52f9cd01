from types import SimpleNamespace

from unlearn_guard.judging.draft import read_draft
from unlearn_guard.request import Request, settle

POLICY = """\
version: 1
base: ./base
suite: wmdp-bio
limits:
  - {metric: forget_drop, task: "@forget", precision: full, at_least: 0.3, because: a test}
"""
DRAFT = read_draft(POLICY, name="release.yaml", digest="sha256:policy")
CANDIDATE = SimpleNamespace(manifest=None, location="candidate")


def test_a_base_or_suite_other_than_the_policys_is_noted():
    settled = settle(Request(checkpoint="candidate", base="./base", suite="organism"), DRAFT, CANDIDATE)
    assert (settled.base, settled.suite) == ("./base", "organism")
    assert settled.notes == ("the policy names suite 'wmdp-bio'; the command line asked for 'organism'",)
    assert settle(Request(checkpoint="candidate"), DRAFT, CANDIDATE).notes == ()
