"""Where states are kept, and who is told."""

import pytest
import torch
from safetensors import safe_open

from unlearn_guard.errors import StorageError
from unlearn_guard.unlearning.session import Point, Session, current, opened

STATE = {"weight.a": torch.arange(6.0).view(2, 3).T, "step.a": torch.tensor(3.0)}


class Ear:
    def __init__(self):
        self.heard = []

    def begin(self, text):
        self.heard.append(text)

    def advance(self, done, of):
        self.heard.append((done, of))

    def losses(self, forget, retain):
        self.heard.append((forget, retain))


def test_without_one_nothing_is_kept_or_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = current()
    session.begin("x")
    session.advance(1, 2)
    session.save("training-1", 1, STATE)
    assert (session.load("training-1"), session.due(), [*tmp_path.iterdir()]) == (None, False, [])
    assert current() is not session


def test_the_open_one_is_asked_until_it_is_closed():
    with opened(Session()) as outer:
        with opened(Session()) as inner:
            assert current() is inner
        assert current() is outer
        with pytest.raises(RuntimeError), opened(Session()):
            raise RuntimeError
        assert current() is outer
    assert current() is not outer


def test_tells_its_listener():
    ear = Ear()
    session = Session(listener=ear)
    session.begin("training")
    session.record(Point(step=0, forget=1.5, retain=None))
    session.advance(1, 9)
    assert ear.heard == ["training", (1.5, None), (1, 9)]
    assert session.curve == [Point(step=0, forget=1.5, retain=None)]


def test_numbers_the_trainings_of_a_method():
    session = Session()
    assert [session.training() for _ in range(3)] == ["training-1", "training-2", "training-3"]


def test_gives_back_what_was_saved_and_the_curve(tmp_path):
    first = Session(folder=tmp_path / "new", fingerprint="f")
    first.record(Point(step=0, forget=-0.1, retain=1 / 3))
    first.save("training-1", 7, STATE)
    second = Session(folder=tmp_path / "new", fingerprint="f")
    step, state = second.load("training-1")
    assert step == 7
    assert {name: value.tolist() for name, value in state.items()} == {n: v.tolist() for n, v in STATE.items()}
    assert second.curve == first.curve
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["training-1.safetensors"]


def test_another_runs_state_is_not_resumed(tmp_path):
    Session(folder=tmp_path, fingerprint="one").save("training-1", 7, STATE)
    assert Session(folder=tmp_path, fingerprint="other").load("training-1") is None
    assert Session(folder=tmp_path, fingerprint="one").load("training-2") is None


def test_is_due_when_the_last_save_is_long_ago(tmp_path):
    assert Session(folder=tmp_path, save_seconds=0.0).due()
    session = Session(folder=tmp_path, save_seconds=1000.0)
    assert not session.due()
    session._saved -= 1001.0
    assert session.due()
    session.save("training-1", 1, STATE)
    assert not session.due()


def test_a_failed_save_keeps_the_last_one(tmp_path, monkeypatch):
    """A disk that fills up while the file is written: the state before it can still be read."""
    session = Session(folder=tmp_path, fingerprint="f")
    session.save("training-1", 1, STATE)

    def full(*_args, **_rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unlearn_guard.unlearning.session.save_file", full)
    with pytest.raises(StorageError, match="No space left"):
        session.save("training-1", 2, STATE)
    assert session.load("training-1")[0] == 1


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be saved"):
        Session(folder=tmp_path / "file" / "below").save("training-1", 1, STATE)


def test_a_save_that_safetensors_refuses_is_a_storage_error(tmp_path):
    """Its own error is no OSError: what it says of a full disk must not pass as anything else."""
    (tmp_path / ".training-1.part").mkdir()
    with pytest.raises(StorageError, match="could not be saved"):
        Session(folder=tmp_path).save("training-1", 1, STATE)


def test_states_hold_no_code(tmp_path):
    Session(folder=tmp_path, fingerprint="f").save("training-1", 1, STATE)
    with safe_open(tmp_path / "training-1.safetensors", framework="pt") as held:
        assert sorted(held.metadata()) == ["curve", "fingerprint", "step"]
