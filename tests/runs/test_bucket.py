"""Objects below a URL: whole or not there, never outside of it, and every fault with the URL's name."""

from pathlib import Path

import pytest

from tests.runs.buckets import made_bucket
from unlearn_guard.errors import RunDirectoryError, StorageError, UsageError
from unlearn_guard.runs.bucket import directory_of, is_url, open_bucket


def test_what_is_a_url_and_what_a_directory():
    assert is_url("s3://bucket/x")
    assert is_url("memory://x")
    for text in ("runs/x", "/runs/x", "C:/x", "file:///runs/x"):
        assert not is_url(text)
    assert directory_of("file:///runs/a%20b") == Path("/runs/a b")
    assert directory_of("runs/x") == Path("runs/x")
    assert directory_of("runs/a%20b?c#d") == Path("runs/a%20b?c#d")


def test_an_object_is_read_as_it_was_written():
    bucket = made_bucket()
    assert bucket.read("a/b") is None
    bucket.write("a/b", b"one")
    bucket.write("a/b", b"two")
    assert bucket.read("a/b") == b"two"
    assert bucket.names("a") == ("b",)
    assert bucket.names("") == ("a/b",)
    assert bucket.names("nothing") == ()
    bucket.write("a/X", b"three")
    assert bucket.names("a") == ("X", "b")


def test_only_the_first_creates():
    bucket = made_bucket()
    assert bucket.create("a", b"one")
    assert not bucket.create("a", b"two")
    assert bucket.read("a") == b"one"


def test_a_folder_goes_up_and_comes_down_and_what_is_stale_goes(tmp_path):
    bucket = made_bucket()
    bucket.write("run/old", b"stale")
    bucket.write("running/other", b"not ours")
    (tmp_path / "run" / "samples").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_bytes(b"1")
    (tmp_path / "run" / "samples" / "a.jsonl").write_bytes(b"2")
    (tmp_path / "run" / ".lock").write_bytes(b"hidden")
    bucket.upload(tmp_path / "run", "run")
    assert bucket.names("run") == ("run.json", "samples/a.jsonl")
    assert bucket.names("running") == ("other",)
    bucket.download("run", tmp_path / "again")
    assert (tmp_path / "again" / "samples" / "a.jsonl").read_bytes() == b"2"


class Listing:
    """A store that lists what it is told to."""

    def __init__(self, *names):
        self.found = names

    def invalidate_cache(self):
        pass

    def find(self, prefix):
        return [f"{prefix}/{name}" for name in self.found]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b", "a//b", "a/./b", "a\\b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    bucket = made_bucket()
    with pytest.raises(RunDirectoryError, match="no run wrote"):
        type(bucket)(url=bucket.url, files=Listing("fine", name), root="r").names("cells")


class Broken:
    """A store that is not to be reached."""

    def __getattr__(self, name):
        def fail(*_, **__):
            raise RuntimeError("no route to host")

        return fail


@pytest.mark.parametrize("ask", ["read", "write", "create", "names"])
def test_a_fault_names_the_url(ask):
    bucket = made_bucket()
    broken = type(bucket)(url="s3://bucket/x", files=Broken(), root="x")
    with pytest.raises(StorageError, match=r"s3://bucket/x/a: RuntimeError: no route"):
        getattr(broken, ask)(*(["a", b""] if ask in ("write", "create") else ["a"]))


def test_a_protocol_that_nobody_knows():
    with pytest.raises(UsageError, match="nosuch") as caught:
        open_bucket("nosuch://x")
    assert caught.value.fix == "Give a directory, or a URL such as s3://BUCKET/FOLDER."


def test_a_url_s_last_slash_is_no_part_of_it():
    for url in ("memory://place/X", "memory://place/X/"):
        bucket = open_bucket(url)
        assert (bucket.url, bucket.root) == ("memory://place/X", "/place/X")


def test_a_package_that_is_not_there_is_named(monkeypatch):
    def missing(*_, **__):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(UsageError, match="gcsfs") as caught:
        open_bucket("gs://x")
    assert "unlearn-guard[gcs]" in str(caught.value)


def test_an_object_that_goes_while_a_folder_comes_down_is_a_fault(tmp_path):
    """Never a folder with a file less."""
    bucket = made_bucket()
    bucket.write("run/a", b"1")
    forgetful = type(bucket)(url=bucket.url, files=Forgetful(bucket.files), root=bucket.root)
    with pytest.raises(StorageError, match="run/a went while it was read"):
        forgetful.download("run", tmp_path)


class Forgetful:
    """A store that lists what it no longer has."""

    def __init__(self, files):
        self.files = files

    def cat_file(self, path):
        raise FileNotFoundError(path)

    def __getattr__(self, name):
        return getattr(self.files, name)
