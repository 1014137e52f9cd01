"""Values in the store: what was put in comes back, and nothing else is believed."""

import hashlib
import hmac
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn_guard.errors import StorageError
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.store import Store, key

KEY = key(model="sha256:x", task="t")


def entry(store):
    (path,) = store.root.rglob("*.json")
    return path


words = st.text(st.characters(codec="utf-8"), max_size=5)
json_values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(json_values)
def test_any_value_comes_back(tmp_path_factory, value):
    store = Store(tmp_path_factory.getbasetemp() / "values")
    store.put_json(KEY, value)
    assert store.get_json(KEY) == value
    assert store.warnings == []


VALUE = {"answers": [{"tokens": [-1.5, "-inf"], "greedy": True}], "target": "2"}


def with_checksum(data, secret=None):
    """What somebody without the key can do: change the value and recompute whatever is over it."""
    envelope = json.loads(data)
    envelope["payload"]["target"] = "3"
    content = strict_json.canonical(["value", KEY, envelope["payload"]])
    plain = hashlib.sha256(content).hexdigest()
    envelope["hmac"] = plain if secret is None else hmac.new(secret, content, "sha256").hexdigest()
    envelope["sha256"] = strict_json.digest(strict_json.canonical(envelope["payload"]))
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data.replace(b'"2"', b'"3"'),
        lambda data: json.dumps({"payload": json.loads(data)["payload"]}).encode(),
        lambda data: json.dumps({**json.loads(data), "hmac": None}).encode(),
        lambda data: json.dumps({**json.loads(data), "hmac": "\ud800"}).encode(),
        with_checksum,
        lambda data: with_checksum(data, b""),
        lambda data: with_checksum(data, KEY.encode()),
        lambda data: b"[]",
        lambda data: b"[" * 100_000,
        lambda data: b'{"payload": 1}',
    ],
)
def test_an_entry_that_is_not_ours_is_thrown_away_and_reported(store, damage):
    store.put_json(KEY, VALUE)
    path = entry(store)
    path.write_bytes(damage(path.read_bytes()))
    assert store.get_json(KEY) is None
    assert not path.exists()
    (warning,) = store.warnings
    assert str(path) in warning
    store.put_json(KEY, VALUE)
    assert store.get_json(KEY) == VALUE


def test_whoever_has_the_key_is_believed(store, monkeypatch, tmp_path):
    """So that the test above fails for its reason, and not because every changed entry is refused."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o600)
    monkeypatch.setenv("UNLEARN_GUARD_CACHE_KEY", str(secret))
    shared = Store(store.root)
    shared.put_json(KEY, VALUE)
    entry(store).write_bytes(with_checksum(entry(store).read_bytes(), b"s" * 32))
    assert shared.get_json(KEY) == {**VALUE, "target": "3"}


def test_what_another_user_stored_is_neither_read_nor_removed(store, monkeypatch, tmp_path):
    store.put_json(KEY, VALUE)
    folder = store.publish(KEY, lambda folder: (folder / "w").write_text("theirs") and None)
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o600)
    monkeypatch.setenv("UNLEARN_GUARD_CACHE_KEY", str(secret))
    other = Store(store.root)
    assert other.get_json(KEY) is None
    assert other.directory(KEY) is None
    assert other.warnings == []
    other.put_json(KEY, {"mine": 1})
    assert store.get_json(KEY) == VALUE
    assert store.directory(KEY) == folder


def test_another_users_entry_moved_among_ours_is_not_read(store, monkeypatch, tmp_path):
    store.put_json(KEY, VALUE)
    (theirs,) = (store.root / "entries").iterdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o600)
    monkeypatch.setenv("UNLEARN_GUARD_CACHE_KEY", str(secret))
    ours = Store(store.root)
    ours.put_json(key(a=1), 1)
    (own,) = set((store.root / "entries").iterdir()) - {theirs}
    shutil.copytree(theirs, own, dirs_exist_ok=True)
    assert ours.get_json(KEY) is None
    assert ours.warnings


def test_a_value_is_not_a_folder_s_manifest(store):
    """The same content under the same key has another HMAC as something else."""
    path = store.publish(KEY, lambda folder: (folder / "w").write_text("good") and None)
    manifest = json.loads((path / "manifest.json").read_text())
    store.put_json(KEY, manifest["files"])
    assert json.loads(entry_of(store, KEY).read_text())["hmac"] != manifest["hmac"]


def entry_of(store, key):
    (path,) = store.root.rglob(f"{key}.json")
    return path


def test_a_value_that_cannot_be_what_was_asked_for_is_discarded(store):
    store.put_json(KEY, VALUE)
    store.discard(KEY)
    assert store.get_json(KEY) is None
    assert store.warnings


def test_an_entry_under_another_name_is_not_served(store):
    store.put_json(KEY, {"value": 1})
    other = key(model="sha256:y", task="t")
    target = entry(store).parents[1] / other[:2] / f"{other}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(entry(store).read_bytes())
    assert store.get_json(other) is None


def test_a_full_disk_is_a_storage_error(store, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        store.put_json(KEY, 1)
    assert store.get_json(KEY) is None


def test_what_went_in_between_is_discarded_without_a_fault(store):
    store.discard(KEY)
    assert len(store.warnings) == 1


def test_what_cannot_be_removed_is_a_storage_error(store, monkeypatch):
    """Else it would be refused, and said to be gone, for ever."""
    store.put_json(KEY, VALUE)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(StorageError, match="Permission denied"):
        store.discard(KEY)


def test_a_value_that_cannot_be_read_is_a_storage_error_and_not_a_miss(store, monkeypatch):
    store.put_json(KEY, VALUE)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(StorageError, match="Permission denied"):
        store.get_json(KEY)


def test_a_folder_where_a_value_should_be_is_thrown_away(store):
    store.put_json(KEY, VALUE)
    path = entry(store)
    path.unlink()
    path.mkdir()
    assert store.get_json(KEY) is None
    assert not path.exists()
    assert len(store.warnings) == 1


def test_null_is_no_value(store):
    with pytest.raises(ValueError, match="null"):
        store.put_json(KEY, None)


@pytest.mark.parametrize("part", [object(), b"x", {1}, [b"x"], {"a": Path()}])
def test_a_key_of_what_is_no_json_is_an_error(part):
    with pytest.raises(TypeError, match="not a JSON value"):
        key(part=part)
