"""What becomes of an earlier verdict: aside, back where it was, or gone; and never half of it."""

import json

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_run
from unlearn_guard.errors import AnotherRunError, StorageError
from unlearn_guard.runs.directory import write_run
from unlearn_guard.runs.earlier import Earlier, retracted, taken

ASKED = {"candidate": CANDIDATE, "base": BASE, "suite": "made", "policy": "sha256:policy"}
OUTPUTS = ("report.html", "report.md", "libraries.log")


@pytest.fixture
def out(tmp_path):
    """A finished run with its reports."""
    run, scores = made_run(limits=made_run()[0].policy.limits)
    write_run(run, scores, tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    content["policy"]["digest"] = ASKED["policy"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    for name in OUTPUTS:
        (tmp_path / "run" / name).write_text(name)
    (tmp_path / "run" / "report.d").mkdir()
    return tmp_path / "run"


def standing(out):
    return sorted(path.name for path in out.iterdir() if path.is_file() and path.name != ".unlearn-guard")


def aside(out):
    return sorted(path.name for path in (out / ".earlier").iterdir())


EVERYTHING = sorted([*OUTPUTS, "run.json"])


def test_what_speaks_of_a_verdict_goes_aside_and_comes_back(out):
    before = {name: (out / name).read_bytes() for name in EVERYTHING}
    earlier = Earlier(out, replace=False)
    earlier.set_aside()
    assert standing(out) == []
    assert aside(out) == EVERYTHING
    assert (out / "samples").is_dir()
    earlier.restore()
    assert {name: (out / name).read_bytes() for name in standing(out)} == before
    assert not (out / ".earlier").exists()


def test_what_was_set_aside_is_given_up_when_measuring_begins(out):
    earlier = Earlier(out, replace=False)
    earlier.set_aside()
    earlier.discard()
    assert standing(out) == []
    assert not (out / ".earlier").exists()
    earlier.restore()
    assert standing(out) == [], "what was given up does not come back"
    earlier.discard()


def test_what_an_ended_process_set_aside_is_still_known_and_only_what_stands_replaces_it(out):
    Earlier(out, replace=False).set_aside()
    (out / "report.html").write_text("half")
    second = Earlier(out, replace=False)
    second.set_aside()
    assert aside(out) == EVERYTHING
    with pytest.raises(AnotherRunError, match="another candidate"):
        second.assert_same(**{**ASKED, "candidate": "sha256:other"})
    second.restore()
    assert standing(out) == ["report.html"], "this process moved nothing else"
    assert aside(out) == sorted({*EVERYTHING} - {"report.html"})
    write_run(*made_run(), out)
    third = Earlier(out, replace=False)
    third.set_aside()
    assert aside(out) == ["run.json"], "another finished run takes the place whole"
    assert json.loads((out / ".earlier" / "run.json").read_text())["policy"]["digest"] != ASKED["policy"]


def test_an_empty_directory_has_no_earlier_run(tmp_path):
    earlier = Earlier(tmp_path, replace=False)
    earlier.set_aside()
    earlier.assert_same(**ASKED)
    earlier.restore()
    earlier.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_same_run_is_no_other(out):
    earlier = Earlier(out, replace=False)
    earlier.set_aside()
    earlier.assert_same(**ASKED)
    earlier.assert_same(candidate=CANDIDATE)


@pytest.mark.parametrize("what", ASKED)
def test_another_run_is_named_by_what_differs(out, what):
    earlier = Earlier(out, replace=False)
    earlier.set_aside()
    with pytest.raises(AnotherRunError, match=f"the finished run of another {what}; it was left as it is") as caught:
        earlier.assert_same(**{**ASKED, what: "another"})
    (defect,) = caught.value.defects
    assert defect.where == {"suite": "run.json: suite"}.get(what, f"run.json: {what}.digest")
    assert (defect.found, defect.expected) == (ASKED[what], "another")
    assert ("unlearn-guard judge" in caught.value.fix) is (what == "policy")
    assert "--replace" in caught.value.fix


def test_all_that_differs_is_named_at_once(out):
    earlier = Earlier(out, replace=False)
    earlier.set_aside()
    with pytest.raises(AnotherRunError, match="another candidate and another policy;") as caught:
        earlier.assert_same(**{**ASKED, "candidate": "x", "policy": "y"})
    assert "unlearn-guard judge" not in caught.value.fix


def test_whoever_says_replace_may_take_another_s_place(out):
    earlier = Earlier(out, replace=True)
    earlier.set_aside()
    earlier.assert_same(**{**ASKED, "candidate": "x"})


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"candidate": 1}', b"\xff"])
def test_a_run_that_cannot_be_read_is_nobody_s(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    earlier = Earlier(tmp_path, replace=False)
    earlier.set_aside()
    with pytest.raises(AnotherRunError, match="another candidate") as caught:
        earlier.assert_same(candidate=CANDIDATE)
    assert caught.value.defects[0].found == "None"


def test_a_directory_that_cannot_be_changed_is_a_storage_error(out):
    (out / ".earlier").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        Earlier(out, replace=False).set_aside()
    (out / ".earlier").unlink()
    earlier = Earlier(out, replace=False)
    earlier.set_aside()
    (out / ".earlier" / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        earlier.discard()


def refused(out):
    with taken(out, replace=False) as earlier:
        assert standing(out) == []
        earlier.assert_same(**{**ASKED, "base": "x"})


def test_a_refused_run_leaves_the_earlier_one_and_any_other_end_leaves_nothing_standing(out):
    with pytest.raises(AnotherRunError):
        refused(out)
    assert standing(out) == EVERYTHING
    with pytest.raises(KeyError), taken(out, replace=False):
        raise KeyError
    assert standing(out) == []
    assert aside(out) == EVERYTHING
    with taken(out, replace=True) as earlier:
        earlier.assert_same(**{**ASKED, "base": "x"})
        earlier.discard()
    assert not (out / ".earlier").exists()


JUNIT = "<?xml version='1.0'?>\n<testsuites><testsuite name='x'/></testsuites>"


@pytest.fixture
def junit(tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text(JUNIT)
    return path


def test_an_earlier_junit_file_does_not_stand_while_a_run_is_made(junit):
    with retracted(junit):
        assert not junit.exists()
        junit.write_text("new")
    assert [path.read_text() for path in junit.parent.iterdir()] == ["new"]


def test_it_comes_back_where_the_run_is_refused_as_another_s_and_nowhere_else(junit):
    with pytest.raises(AnotherRunError), retracted(junit):
        raise AnotherRunError("x")
    assert [path.read_text() for path in junit.parent.iterdir()] == [JUNIT]
    with pytest.raises(KeyError), retracted(junit):
        raise KeyError
    assert list(junit.parent.iterdir()) == []


def test_what_is_no_junit_file_is_left_alone(junit):
    for content in ("thesis", " " * 1024 + JUNIT):
        junit.write_text(content)
        with retracted(junit):
            assert junit.read_text() == content
        with pytest.raises(AnotherRunError), retracted(junit):
            raise AnotherRunError("x")
        assert junit.read_text() == content
    with retracted(None), retracted(junit.parent), retracted(junit.parent / "none.xml"):
        pass
    assert [path.name for path in junit.parent.iterdir()] == ["junit.xml"]
