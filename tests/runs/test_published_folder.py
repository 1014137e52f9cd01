"""Folders in the store: whole or not there, and served as they were published."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from unlearn_guard.errors import StorageError
from unlearn_guard.runs.store import key

KEY = key(model="sha256:x", task="t")


def make(folder):
    (folder / "w").write_text("good")


def test_folders_are_published_whole(store):
    def make(folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "weights.bin").write_bytes(b"123")

    assert store.directory(KEY) is None
    path = store.publish(KEY, make)
    assert store.directory(KEY) == path
    assert (path / "deep" / "weights.bin").read_bytes() == b"123"
    assert store.publish(KEY, make) == path


def test_a_failed_maker_leaves_nothing(store):
    def make(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("quantizer")

    with pytest.raises(RuntimeError, match="quantizer"):
        store.publish(KEY, make)
    assert store.directory(KEY) is None
    assert not [path for path in store.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", ["edit", "remove", "add", "manifest", "{", "[]", "", "{}", '{"files": {}}'])
def test_a_damaged_folder_is_not_served(store, damage):
    path = store.publish(KEY, lambda folder: (folder / "w").write_text("good") and None)
    match damage:
        case "edit":
            (path / "w").write_text("evil")
        case "remove":
            (path / "w").unlink()
        case "add":
            (path / "extra").write_text("x")
        case "manifest":
            manifest = json.loads((path / "manifest.json").read_text())
            (path / "w").write_text("evil")
            evil = {"w": "sha256:" + hashlib.sha256(b"evil").hexdigest()}
            (path / "manifest.json").write_text(json.dumps({**manifest, "files": evil}))
        case text:
            (path / "manifest.json").write_text(text)
    assert store.directory(KEY) is None
    assert not path.exists()
    assert store.warnings


def test_links_are_not_published(store):
    with pytest.raises(StorageError, match="link"):
        store.publish(KEY, lambda folder: (folder / "w").symlink_to("/etc/hostname"))


def published_by_another(monkeypatch, content):
    """As if somebody else had put a folder there between the look and the rename."""

    def rename(temporary, target):
        shutil.copytree(temporary, target)
        (target / "w").write_text(content)
        raise OSError(39, "Directory not empty")

    monkeypatch.setattr(Path, "rename", rename)


def test_of_two_that_publish_at_once_the_first_is_kept_if_it_is_sound(store, monkeypatch):
    published_by_another(monkeypatch, "good")
    assert store.directory(store.publish(KEY, make).name) is not None


def test_an_unsound_folder_in_the_way_is_not_taken_for_ours(store, monkeypatch):
    published_by_another(monkeypatch, "evil")
    with pytest.raises(StorageError, match="not empty"):
        store.publish(KEY, make)


def test_a_link_in_place_of_a_folder_goes_and_what_it_leads_to_stays(store, tmp_path):
    path = store.publish(KEY, make)
    path.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "w").write_text("evil")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.directory(KEY) is None
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere" / "w").exists()
