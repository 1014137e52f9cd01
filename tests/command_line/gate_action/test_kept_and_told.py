"""What the action keeps between jobs, and the one comment of a pull request."""

import json
import sys
from pathlib import Path

import pytest
from composite import Played, play
from gate import ACTION, ROOT, Gate

SECRET = "0123456789abcdef" * 4


def test_the_store_is_kept_only_under_a_secret(played: Gate, environment: dict[str, str], tmp_path: Path) -> None:
    """The check finds the key in a file that only its user reads, outside the store; nothing of it stays."""
    assert "Store" not in played(0, "passed", checkpoint="model").steps
    runner, seen, shim = tmp_path / "runner", tmp_path / "seen", tmp_path / "bin" / "python"
    runner.mkdir()
    look = f'(env; stat -c %a "$UNLEARN_GUARD_CACHE_KEY"; echo; cat "$UNLEARN_GUARD_CACHE_KEY") > {seen}; mkdir -p '
    shim.write_text(shim.read_text().replace("mkdir -p ", look, 1))
    path = f"{shim.parent}:{environment['PATH']}"
    inputs = {"checkpoint": "model", "package": "", "store-key": SECRET}
    told = play(
        ACTION, inputs, tmp_path, environment | {"PATH": path, "PYTHONPATH": str(ROOT), "RUNNER_TEMP": str(runner)}
    )
    assert told.status == 0, told.log
    assert told.steps == ["Store", "Check", "Keep the store", "Report", "Verdict"]
    *variables, mode, _, key = seen.read_text().splitlines()
    assert f"UNLEARN_GUARD_CACHE={runner}/unlearn-guard-store" in variables
    assert SECRET not in "".join(variables)
    assert (mode, key) == ("600", SECRET)
    assert [*runner.iterdir()] == []


GH = """\
#!{python}
import json, pathlib, sys
held = pathlib.Path({held!r})
comments = json.loads(held.read_text()) if held.exists() else []
words = sys.argv[1:]
with open({held!r} + ".log", "a") as log:
    print(*words, file=log)
if "fail" in held.name:
    sys.exit(1)
body = next((pathlib.Path(each[6:]).read_text() for each in words if each.startswith("body=@")), None)
if body is None:
    marker = words[words.index("--jq") + 1].split('startswith("')[1].split('"')[0]
    for each in comments:
        if each["user"] == "Bot" and each["body"].startswith(marker):
            print(each["id"])
elif "PATCH" in words:
    (one,) = [each for each in comments if str(each["id"]) == words[words.index("PATCH") + 1].rsplit("/", 1)[1]]
    one["body"] = body
else:
    comments.append({{"id": 100 + len(comments), "user": "Bot", "body": body}})
held.write_text(json.dumps(comments))
"""
"""GitHub's own program, as far as the action uses it."""


@pytest.fixture
def commenting(played: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The action on a pull request; what its comments are then."""

    def run(status: int, verdict: str, held: str = "comments.json", **more: str) -> tuple[Played, list[dict[str, str]]]:
        place = tmp_path / held
        gh = tmp_path / "bin" / "gh"
        gh.parent.mkdir(exist_ok=True)
        gh.write_text(GH.format(python=sys.executable, held=str(place)))
        gh.chmod(0o755)
        told = played(status, verdict, checkpoint="model", **({"comment-token": "t"} | more))
        return told, json.loads(place.read_text()) if place.exists() else []

    return run


@pytest.fixture
def pull_request(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("GITHUB_REF", "refs/pull/7/merge"), ("GITHUB_REPOSITORY", "us/it"), ("GITHUB_JOB", "gate")):
        monkeypatch.setitem(environment, name, value)


@pytest.mark.usefixtures("pull_request")
def test_a_pull_request_has_one_comment_that_is_updated(commenting, tmp_path: Path) -> None:
    told, comments = commenting(1, "failed")
    assert told.status == 1
    (one,) = comments
    assert "✕ Failed" in one["body"]
    told, comments = commenting(0, "passed")
    assert told.status == 0, told.log
    (one,) = comments
    assert "✓ Passed" in one["body"]
    assert "Failed" not in one["body"]
    told, comments = commenting(3, "")
    assert told.status == 3
    (one,) = comments
    assert "No verdict" in one["body"]
    assert "repos/us/it/issues/7/comments" in (tmp_path / "comments.json.log").read_text()


@pytest.mark.usefixtures("pull_request")
def test_another_s_comment_is_never_written_over(commenting, tmp_path: Path) -> None:
    _, ((one),) = commenting(1, "failed")
    (tmp_path / "comments.json").write_text(json.dumps([{"id": 5, "user": "User", "body": one["body"]}]))
    _, comments = commenting(0, "passed")
    assert [each["user"] for each in comments] == ["User", "Bot"]
    assert comments[0]["body"] == one["body"]


@pytest.mark.usefixtures("pull_request")
def test_a_comment_that_cannot_be_written_changes_no_verdict(commenting) -> None:
    """As in the pull request of a fork, whose token may only read."""
    for status, verdict in ((0, "passed"), (1, "failed")):
        told, comments = commenting(status, verdict, held="fail.json")
        assert (told.status, told.outputs["verdict"], comments) == (status, verdict, [])
        assert "::warning title=unlearn-guard::the pull request's comment was not written" in told.log


def test_outside_of_a_pull_request_there_is_no_comment(commenting, tmp_path: Path) -> None:
    told, comments = commenting(0, "passed")
    assert (told.status, comments) == (0, [])
    assert not (tmp_path / "comments.json.log").exists()


def test_a_badge_lies_in_the_run_directory(played: Gate, tmp_path: Path) -> None:
    played(1, "failed", checkpoint="model")
    text = (tmp_path / "unlearn-guard-run" / "report.badge.svg").read_text(encoding="utf-8")
    assert "failed (thresholds.yaml)" in text
