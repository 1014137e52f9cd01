"""`check` on a store that somebody else has written to: the same verdict, measured anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Done, read_json

from tests.quiz import limits
from unlearn_guard.reading import strict_json

Guard = Callable[..., Done]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(limits("forget_drop", "retain_drop", precisions=("full",)))
    return tmp_path / "policy.yaml"


def forge(value: Any) -> Any:
    """Every answer to every item wrong, whoever gave it, and every count false."""
    if isinstance(value, dict):
        changed = {name: forge(each) for name, each in value.items()}
        if {"target", "answers"} <= value.keys():
            for place, each in enumerate(changed["answers"]):
                each["tokens"] = [-1.0 if str(place) != value["target"] else -50.0]
        return changed | ({"correct": 0.0} if "target" in value else {})
    return [forge(each) for each in value] if isinstance(value, list) else value


def edit(store: Path) -> int:
    """Forge every value, and recompute what can be computed without the key."""
    paths = [path for path in store.rglob("*.json") if "values" in path.parts]
    for path in paths:
        envelope = json.loads(path.read_bytes())
        envelope["payload"] = forge(envelope["payload"])
        envelope["sha256"] = strict_json.digest(strict_json.canonical(envelope["payload"]))
        path.write_bytes(strict_json.canonical(envelope))
    return len(paths)


@pytest.mark.slow
def test_forged_answers_do_not_make_a_pass(
    guard: Guard, candidate: Callable[[str], Path], policy: Path, tmp_path: Path
) -> None:
    """`destroyed` fails retention; that base had known nothing either would hide it."""
    store, model = tmp_path / "store", candidate("destroyed")
    words = ("check", model, "--thresholds", policy)
    own = {"UNLEARN_GUARD_CACHE": str(store)}
    first = guard(*words, "--out", tmp_path / "first", **own)
    assert first.status == 1, first.text
    assert edit(store) > 5
    second = guard(*words, "--out", tmp_path / "second", **own)
    assert second.status == 1, second.text
    one, other = (read_json(tmp_path / name / "run.json") for name in ("first", "second"))
    assert other["measurements"] == one["measurements"]
    assert other["checks"] == one["checks"]
    assert any("was not written with this user's key" in note for note in other["notes"])
    assert not any(stage["cached"] for stage in other["stages"] if stage["name"].startswith("score"))


@pytest.mark.slow
def test_a_store_of_another_user_is_believed_only_with_the_key_that_both_name(
    guard: Guard, candidate: Callable[[str], Path], policy: Path, tmp_path: Path
) -> None:
    """As a CI cache restores it. Nobody's entries are removed for it, and without a store all is as before."""
    store, model, secret = tmp_path / "store", candidate("destroyed"), tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o600)
    named, alone = {"UNLEARN_GUARD_CACHE_KEY": str(secret)}, {"XDG_DATA_HOME": str(tmp_path / "home")}
    found, measured = [], []
    for place, more in enumerate((named, alone, named | alone, alone)):
        out = tmp_path / str(place)
        done = guard("check", model, "--thresholds", policy, "--out", out, UNLEARN_GUARD_CACHE=str(store), **more)
        assert done.status == 1, done.text
        run = read_json(out / "run.json")
        measured.append(run["measurements"])
        found.append([stage["cached"] for stage in run["stages"] if stage["name"].startswith("score")])
    assert all(each == measured[0] for each in measured)
    assert [any(each) for each in found] == [False, False, True, True]
    assert all(found[2] + found[3])
    shutil.rmtree(store)
    done = guard("check", model, "--thresholds", policy, "--out", tmp_path / "4", UNLEARN_GUARD_CACHE=str(store))
    assert read_json(tmp_path / "4" / "run.json")["measurements"] == measured[0]


def test_3_a_home_that_cannot_be_written_to(
    here: Guard, candidate: Callable[[str], Path], policy: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    own = {"UNLEARN_GUARD_CACHE": str(tmp_path / "store"), "XDG_DATA_HOME": str(tmp_path / "file")}
    done = here("check", candidate("destroyed"), "--thresholds", policy, "--out", tmp_path / "run", **own)
    assert done.status == 3, done.text
    assert "UNLEARN_GUARD_CACHE_KEY" in done.text
    assert not (tmp_path / "run" / "run.json").exists()


def test_4_a_key_that_others_can_read(
    here: Guard, candidate: Callable[[str], Path], policy: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o644)
    own = {"UNLEARN_GUARD_CACHE": str(tmp_path / "store"), "UNLEARN_GUARD_CACHE_KEY": str(secret)}
    done = here("check", candidate("destroyed"), "--thresholds", policy, "--out", tmp_path / "run", **own)
    assert done.status == 4, done.text
    assert "chmod 600" in done.text
