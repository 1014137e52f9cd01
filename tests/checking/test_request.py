from pathlib import Path
from types import SimpleNamespace

import pytest

from unlearn_guard.checking.request import Request, settle
from unlearn_guard.errors import UsageError
from unlearn_guard.judging.draft import read_draft

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
    settled = settle(Request(checkpoint="candidate", base="./base", suite="organism"), DRAFT, CANDIDATE, None)
    assert (settled.base, settled.suite) == ("./base", "organism")
    assert settled.notes == ("the policy names suite 'wmdp-bio'; the command line asked for 'organism'",)
    assert settle(Request(checkpoint="candidate"), DRAFT, CANDIDATE, None).notes == ()


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A directory to be judged, with a policy of its maker's."""
    (tmp_path / "candidate" / "inside").mkdir(parents=True)
    (tmp_path / "candidate" / "thresholds.yaml").write_text(POLICY)
    return tmp_path / "candidate"


@pytest.mark.parametrize("named", [".", "the path", "a link"])
def test_a_policy_in_the_candidates_own_directory_is_no_default(
    monkeypatch: pytest.MonkeyPatch, candidate: Path, tmp_path: Path, named: str
):
    (tmp_path / "link").symlink_to(candidate)
    monkeypatch.chdir(candidate)
    request = Request(checkpoint={"the path": str(candidate), "a link": str(tmp_path / "link")}.get(named, named))
    assert request.policy == "paper"
    (note,) = request.policy_notes
    assert str(candidate / "thresholds.yaml") in note
    assert "--thresholds ./thresholds.yaml" in note


def test_a_policy_deep_inside_the_candidate_or_an_artifact_is_no_default(
    monkeypatch: pytest.MonkeyPatch, candidate: Path
):
    (candidate / "thresholds.yaml").rename(candidate / "inside" / "thresholds.yaml")
    monkeypatch.chdir(candidate / "inside")
    assert Request(checkpoint="..").policy == "paper"
    assert Request(checkpoint="elsewhere", artifacts={"gptq": ".."}).policy == "paper"
    assert Request(checkpoint="elsewhere").policy == "./thresholds.yaml"


def test_a_link_into_the_candidate_or_out_of_it_is_no_default(
    monkeypatch: pytest.MonkeyPatch, candidate: Path, tmp_path: Path
):
    """A link in the working directory leads to its file; a link in the candidate was laid by its maker."""
    (tmp_path / "thresholds.yaml").symlink_to(candidate / "thresholds.yaml")
    monkeypatch.chdir(tmp_path)
    assert Request(checkpoint="candidate").policy == "paper"
    (tmp_path / "thresholds.yaml").unlink()
    (candidate / "thresholds.yaml").rename(tmp_path / "ours.yaml")
    (candidate / "thresholds.yaml").symlink_to(tmp_path / "ours.yaml")
    monkeypatch.chdir(candidate)
    assert Request(checkpoint=".").policy == "paper"


def test_a_policy_in_the_hub_caches_copy_of_the_candidate_is_no_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "thresholds.yaml").write_text(POLICY)
    monkeypatch.chdir(snapshot)
    assert Request(checkpoint="org/name@main").policy == "paper"
    assert Request(checkpoint="org/other").policy == "./thresholds.yaml"


def test_a_policy_beside_the_candidate_is_the_default_and_needs_no_note(
    monkeypatch: pytest.MonkeyPatch, candidate: Path, tmp_path: Path
):
    (tmp_path / "thresholds.yaml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    for checkpoint in ("candidate", "./candidate", str(candidate), "org/name"):
        request = Request(checkpoint=checkpoint)
        assert (request.policy, request.policy_notes) == ("./thresholds.yaml", ())


def test_a_named_policy_inside_the_candidate_is_used_and_noted(monkeypatch: pytest.MonkeyPatch, candidate: Path):
    monkeypatch.chdir(candidate)
    request = Request(checkpoint=".", thresholds="thresholds.yaml")
    assert request.policy == "thresholds.yaml"
    assert "lies inside the candidate" in request.policy_notes[0]
    (candidate / "paper").write_text(POLICY)
    assert Request(checkpoint=".", thresholds="paper").policy_notes == ()  # the shipped one


def test_what_was_passed_over_is_said_where_base_is_missing(monkeypatch: pytest.MonkeyPatch, candidate: Path):
    monkeypatch.chdir(candidate)
    draft = read_draft(POLICY.replace("base: ./base\nsuite: wmdp-bio\n", ""), name="paper", digest="sha256:policy")
    with pytest.raises(UsageError, match="was passed over"):
        settle(Request(checkpoint="."), draft, CANDIDATE, None)
