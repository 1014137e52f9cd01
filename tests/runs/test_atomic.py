"""Files are whole or not there, readable as the user has it, and what a killed process left goes."""

import os
import time

import pytest

from unlearn_guard.errors import StorageError
from unlearn_guard.runs.atomic import HALF_WRITTEN, write_bytes


def test_a_half_written_file_goes_when_it_is_an_hour_old_and_is_written_again(tmp_path):
    others, old, new = (tmp_path / name for name in (".other.json.x.tmp", ".a[b].json.x.tmp", ".a[b].json.y.tmp"))
    for path in (others, old, new):
        path.write_text("{")
    for path in (others, old):
        os.utime(path, (0, new.stat().st_mtime - 4000))
    write_bytes(tmp_path / "a[b].json", b"{}")
    assert sorted(tmp_path.iterdir()) == sorted([others, new, tmp_path / "a[b].json"])


def test_a_file_is_for_all_whom_the_umask_lets_read_it(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a" / "b.json", b"{}")
        assert os.umask(0o027) == 0o027, "and the umask stays"
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b.json").stat().st_mode & 0o777 == 0o640


def test_what_stood_there_stays_where_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot write"):
        write_bytes(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.json", b"old")]


def test_a_long_name_is_written_too(tmp_path):
    write_bytes(tmp_path / ("x" * 250), b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x" * 250]


def test_a_half_written_file_of_an_hour_is_left_to_whoever_writes_it(tmp_path):
    path = tmp_path / ".a.json.x.tmp"
    path.write_text("{")
    os.utime(path, (0, time.time() - 3500))
    write_bytes(tmp_path / "a.json", b"{}")
    assert path.exists()
    os.utime(path, (0, time.time() - 3700))
    write_bytes(tmp_path / "a.json", b"{}")
    assert not path.exists()


def test_what_is_being_written_has_the_name_by_which_it_is_swept(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(tmp_path.glob(HALF_WRITTEN)))
    write_bytes(tmp_path / "a.json", b"{}")
    assert [path.name[:8] for path in seen] == [".a.json."]


def test_a_file_in_the_writing_is_found_by_its_name_however_long_the_files_own_is(tmp_path, monkeypatch):
    path = tmp_path / ("a" * 60 + ".json")
    left = tmp_path / f".{'a' * 40}.left.tmp"
    left.write_text("{")
    os.utime(left, (0, time.time() - 4000))
    seen = []
    replace = type(path).replace

    def watched(self, target):
        seen.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(type(path), "replace", watched)
    write_bytes(path, b"{}")
    assert [each.name for each in tmp_path.iterdir()] == [path.name], "what a killed process left is gone"
    assert len(seen) == 1
    assert seen[0].startswith(f".{'a' * 40}.")
    assert not seen[0].startswith(f".{'a' * 41}")
    assert tmp_path.joinpath(seen[0]).match(HALF_WRITTEN)


def test_a_file_that_vanishes_in_the_writing_is_told_as_what_went_wrong(tmp_path, monkeypatch):
    path = tmp_path / "a.json"

    def gone(self, target):
        self.unlink()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(path), "replace", gone)
    with pytest.raises(StorageError, match="Input/output error"):
        write_bytes(path, b"{}")
    assert not path.exists()
