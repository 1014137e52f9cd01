"""A directory is one run's: what it may hold, and for how long it is held."""

import fcntl
import json
import os

import pytest

from unlearn_guard.errors import RunDirectoryError, StorageError, TakenError
from unlearn_guard.runs.claim import MARKER, claim


def held_by_another(directory):
    """Whether somebody who opens the lock file himself finds it locked."""
    handle = os.open(directory / MARKER, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def taken(directory):
    with claim(directory):
        return True


def test_a_directory_is_made_and_held_until_the_outer_claim_ends(tmp_path):
    out = tmp_path / "a" / "b"
    with claim(out):
        assert held_by_another(out)
        with claim(out / ".." / "b"):
            pass
        assert held_by_another(out), "the claim inside of it has not ended it"
    assert not held_by_another(out)
    assert (out / MARKER).exists()


def test_a_claim_ends_with_an_error_too(tmp_path):
    with pytest.raises(KeyError), claim(tmp_path):
        raise KeyError
    assert not held_by_another(tmp_path)
    assert taken(tmp_path)


def test_what_another_holds_is_taken(tmp_path):
    (tmp_path / MARKER).touch()
    with (tmp_path / MARKER).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TakenError, match="another run is writing here"):
            taken(tmp_path)
    assert taken(tmp_path)


def test_a_file_system_without_locks_is_a_storage_error(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(StorageError, match="Operation not supported"):
        taken(tmp_path)


def test_a_place_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        taken(tmp_path / "file" / "run")


@pytest.mark.parametrize("schema", ["unlearn-guard.run/1", "unlearn-guard.run/9"])
def test_a_run_without_its_marker_is_a_run_of_any_version(tmp_path, schema):
    (tmp_path / "run.json").write_text(json.dumps({"schema": schema}))
    (tmp_path / "notes.txt").touch()
    assert taken(tmp_path)


@pytest.mark.parametrize("content", ['{"schema": "theirs/1"}', "{}", "[]", "{", '"unlearn-guard.run/1"'])
def test_a_run_json_of_something_else_makes_no_run(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunDirectoryError, match="something that is not a run"):
        taken(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_is_in_the_way_is_named(tmp_path):
    for name in "edcba":
        (tmp_path / name).touch()
    with pytest.raises(RunDirectoryError) as caught:
        taken(tmp_path)
    assert caught.value.defects[0].found == "a, b, c, d ..."
    (tmp_path / "e").unlink()
    with pytest.raises(RunDirectoryError) as caught:
        taken(tmp_path)
    assert caught.value.defects[0].found == "a, b, c, d"
    (tmp_path / MARKER).touch()
    assert taken(tmp_path)


def test_a_directory_that_cannot_be_looked_into_is_no_empty_one(tmp_path, monkeypatch):
    (tmp_path / "somebodys.txt").write_text("x")

    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", denied)
    with pytest.raises(StorageError, match="Permission denied"), claim(tmp_path):
        pytest.fail("it was held")
