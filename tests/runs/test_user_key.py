"""The key of the store's entries: one a user, private, made once, and never in the store."""

import os
import stat
import subprocess
import sys
import tempfile

import pytest

from unlearn_guard.errors import StorageError, UsageError
from unlearn_guard.runs.user_key import own_path, user_key


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("UNLEARN_GUARD_CACHE_KEY", raising=False)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def named(tmp_path, monkeypatch, content=b"s" * 32, mode=0o600):
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    monkeypatch.setenv("UNLEARN_GUARD_CACHE_KEY", str(path))
    return path


def test_a_key_is_made_once_for_its_user_alone(store):
    first = user_key(store)
    assert len(first) == 32
    assert user_key(store) == first
    assert user_key(store / "another") == first
    assert stat.S_IMODE(own_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(own_path().parent.stat().st_mode) == 0o700
    assert [path.name for path in own_path().parent.iterdir()] == ["store.key"]


def test_ten_processes_at_once_have_one_key(store):
    code = "import sys, pathlib; from unlearn_guard.runs.user_key import user_key;"
    code += f"print(user_key(pathlib.Path({str(store)!r})).hex())"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(10)]
    keys = {process.communicate()[0] for process in processes}
    assert keys == {f"{user_key(store).hex()}\n".encode()}


def test_a_named_file_is_the_key_with_or_without_a_newline(store, tmp_path, monkeypatch):
    named(tmp_path, monkeypatch, b"s" * 64)
    assert user_key(store) == b"s" * 64
    named(tmp_path, monkeypatch, b"s" * 64 + b"\r\n")
    assert user_key(store) == b"s" * 64
    named(tmp_path, monkeypatch, b"X" * 32 + b"\n")
    assert user_key(store) == b"X" * 32
    assert not own_path().exists()


def test_an_empty_variable_names_none(store, monkeypatch):
    monkeypatch.setenv("UNLEARN_GUARD_CACHE_KEY", "")
    user_key(store)
    assert own_path().exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602, 0o604])
@pytest.mark.parametrize("whose", ["own", "named"])
def test_a_key_that_others_can_read_or_write_is_refused(store, tmp_path, monkeypatch, mode, whose):
    if whose == "own":
        user_key(store)
        own_path().chmod(mode)
    else:
        named(tmp_path, monkeypatch, mode=mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}") as caught:
        user_key(store)
    assert "chmod 600" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"short", b"s" * 31, b"s" * 31 + b"\n", b"s" * 5000])
def test_a_key_of_another_length_is_refused(store, tmp_path, monkeypatch, content):
    named(tmp_path, monkeypatch, content)
    with pytest.raises(UsageError, match="32 to 4096"):
        user_key(store)


def test_links_folders_and_pipes_are_refused(store, tmp_path, monkeypatch):
    path = named(tmp_path, monkeypatch)
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="a link"):
        user_key(store)
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(UsageError, match="no plain file"):
        user_key(store)
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(UsageError, match="no plain file"):
        user_key(store)


def test_a_key_of_somebody_else_is_refused(store, monkeypatch):
    user_key(store)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match=f"found a file of user {os.getuid()}; expected one of yours") as caught:
        user_key(store)
    assert f"`sudo chown {os.getuid() + 1} {own_path()}`" in str(caught.value)
    assert "Remove it: the next command makes another" in str(caught.value)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fstat", lambda _: os.stat_result([0o100600, 0, 0, 1, 1000, 0, 32, 0, 0, 0]))
    with pytest.raises(UsageError, match="run this as user 1000, without sudo"):
        user_key(store)


def test_a_key_inside_the_store_is_refused(store, tmp_path, monkeypatch):
    store.mkdir()
    named(store, monkeypatch)
    with pytest.raises(UsageError, match="inside the store"):
        user_key(store)
    monkeypatch.delenv("UNLEARN_GUARD_CACHE_KEY")
    with pytest.raises(UsageError, match="inside the store"):
        user_key(tmp_path)
    assert not own_path().exists()


def test_a_named_file_that_is_not_there_is_not_made(store, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_GUARD_CACHE_KEY", str(tmp_path / "absent"))
    with pytest.raises(StorageError, match="cannot be read") as caught:
        user_key(store)
    assert "head -c 32 /dev/urandom" in str(caught.value)
    assert not (tmp_path / "absent").exists()


def test_a_home_that_cannot_be_written_to_says_what_to_set(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot be written") as caught:
        user_key(store)
    assert "XDG_DATA_HOME" in str(caught.value)
    assert "UNLEARN_GUARD_CACHE_KEY" in str(caught.value)


@pytest.mark.parametrize("length", [32, 4096])
def test_the_shortest_and_the_longest_key(store, tmp_path, monkeypatch, length):
    named(tmp_path, monkeypatch, b"s" * length)
    assert user_key(store) == b"s" * length


def test_an_own_key_is_read_byte_for_byte(store):
    """Made of random bytes, it may end with what looks like a newline."""
    user_key(store)
    for content in (b"s" * 31 + b"\n", b"s" * 30 + b"\r\n"):
        own_path().write_bytes(content)
        assert user_key(store) == content


def test_a_home_is_private_from_its_top(tmp_path, store):
    user_key(store)
    assert stat.S_IMODE((tmp_path / "data" / "unlearn-guard").stat().st_mode) == 0o700
    assert [path.name for path in own_path().parent.iterdir()] == ["store.key"]


def test_a_key_is_written_beside_its_place_and_out_of_sight(store, monkeypatch):
    """On another file system it could not be linked; and it is gone where somebody sweeps such files."""
    made, first = [], tempfile.mkstemp

    def mkstemp(**where):
        made.append(where)
        return first(**where)

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    monkeypatch.setattr(os, "link", os.rename)
    assert len(user_key(store)) == 32
    assert made[0]["dir"] == own_path().parent
    assert made[0]["prefix"].startswith(".")
