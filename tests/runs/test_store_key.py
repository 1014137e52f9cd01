"""A key is the digest of what a value depends on, and where it lies follows from it."""

import hmac
import math

import pytest

from unlearn_guard.reading import strict_json
from unlearn_guard.runs.store import default_root, key
from unlearn_guard.runs.user_key import user_key

KEY = key(model="sha256:x", task="t")


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
