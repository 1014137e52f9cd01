import hashlib
import hmac
import json
import math
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn_guard.errors import StorageError
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.store import Store, default_root, key
from unlearn_guard.runs.user_key import user_key

KEY = key(model="sha256:x", task="t")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def entry(store):
    (path,) = store.root.rglob("*.json")
    return path


def test_a_key_is_the_digest_of_its_parts():
    assert len(KEY) == 64
    assert key(task="t", model="sha256:x") == KEY
    assert key(model="sha256:y", task="t") != KEY
    assert key(model="sha256:x", tasks="t") != KEY
    assert key(a=1) != key(a="1")
    assert key(a=1) != key(a=True)
    assert key(a=["b", "c"]) != key(a=["bc"])
    assert key(a=None) != key(a="")


@pytest.mark.parametrize("part", [math.nan, math.inf, -math.inf])
def test_a_key_holds_no_nan(part):
    with pytest.raises(ValueError, match="JSON compliant"):
        key(a=[part])


@pytest.mark.parametrize("part", [object(), {1: 2}, {"a": {2}}, b"x"])
def test_a_key_holds_json_values_only(part):
    with pytest.raises(TypeError):
        key(a=part)
    with pytest.raises(ValueError, match="parts"):
        key()


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


def test_a_full_disk_is_a_storage_error(store, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        store.put_json(KEY, 1)
    assert store.get_json(KEY) is None


def test_keys_come_from_key(store):
    for wrong in ("../../x", "abc", "A" * 64):
        with pytest.raises(ValueError, match="key"):
            store.get_json(wrong)


def test_the_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("UNLEARN_GUARD_CACHE")
    assert default_root().name == "unlearn-guard"


def make(folder):
    (folder / "w").write_text("good")


def test_entries_lie_below_their_user_and_the_first_digits_of_their_key(store):
    """So that a folder holds few, and what an earlier release stored is found again."""
    published = store.publish(KEY, make)
    store.put_json(KEY, 1)
    (own,) = (store.root / "entries").iterdir()
    whose = strict_json.canonical(["user", "", None])
    assert own.name == hmac.new(user_key(store.root), whose, "sha256").hexdigest()[:16]
    assert published == own / "folders" / KEY[:2] / KEY
    assert (own / "values" / KEY[:2] / f"{KEY}.json").is_file()


def test_keys_that_begin_alike_are_published_beside_each_other(store):
    alike = [each for each in (key(a=number) for number in range(2000)) if each[:2] == KEY[:2]][:2]
    for each in alike:
        assert store.directory(store.publish(each, make).name) is not None
    assert len({store.directory(each) for each in alike}) == 2


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


def test_a_link_in_place_of_a_folder_goes_and_what_it_leads_to_stays(store, tmp_path):
    path = store.publish(KEY, make)
    path.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "w").write_text("evil")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.directory(KEY) is None
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere" / "w").exists()


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
