"""MANSU's training: which state it ends with, that it can be resumed and repeated, and what it refuses."""

import pytest
from mansu_edits import Mansu, answerable, corpora, digest, known, model, unlearned

from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.errors import UsageError
from unlearn_guard.records import Role
from unlearn_guard.unlearning.scoring import accuracy
from unlearn_guard.unlearning.session import Session, opened


def test_the_best_state_forgets_and_retains():
    """By the questions, where the last state has lost more than it may and forgotten less."""
    how = {"steps": 20, "lr": 1e-2, "floor": "none"}
    best = unlearned(choose="best", look=1, drop=0.3, **how)[1]
    last = unlearned(choose="last", **how)[1]
    assert right(last, Role.RETAIN) < 0.7 <= right(best, Role.RETAIN)
    assert right(best, Role.FORGET) < right(last, Role.FORGET) < 1.0


def right(weights, role):
    judged = model()
    judged.load_state_dict(weights, strict=False)
    return accuracy(judged, known()[role])


def test_no_state_that_retains_enough_is_an_error():
    with pytest.raises(UsageError, match="no state of the training retains"):
        unlearned(choose="best", lr=0.5, drop=0.0, clip=None)


class _Killed(Exception):  # noqa: N818 - no error
    pass


@pytest.mark.parametrize("at", [5, 9])
def test_a_killed_training_ends_with_the_same_bytes(tmp_path, at):
    how = {"choose": "best", "drop": 1.0, "settle": 6, "share": 0.5}
    whole = digest(unlearned(**how)[1])
    session = Session(folder=tmp_path, save_seconds=0.0)
    taken = []
    session.record = lambda point: _kill(taken, point, at)
    with pytest.raises(_Killed), opened(session):
        unlearned(**how)
    resumed = Session(folder=tmp_path, save_seconds=0.0)
    with opened(resumed):
        assert digest(unlearned(**how)[1]) == whole
    assert len(taken) == at


def _kill(taken, point, at):
    taken.append(point)
    if len(taken) == at:
        raise _Killed


def test_the_same_seed_gives_the_same_bytes_and_another_others():
    assert digest(unlearned()[1]) == digest(unlearned()[1])
    assert digest(unlearned()[1]) != digest(unlearned(seed=1)[1])


def test_what_is_missing_is_said_before_anything_is_trained():
    with pytest.raises(UsageError, match="no prompt pairs"):
        unlearned(data=corpora(pairs=()))
    with pytest.raises(UsageError, match="no retain questions"):
        unlearned(data=corpora(questions={Role.FORGET: known()[Role.FORGET]}), choose="best")
    with pytest.raises(UsageError, match="no forget questions"):
        unlearned(data=corpora(questions={Role.RETAIN: known()[Role.RETAIN]}), choose="best")
    wrong = tuple(
        Pair(clean=p.clean, corrupted=p.corrupted, target=p.wrong[0], wrong=(p.target,), where=p.where)
        for p in answerable()
    )
    with pytest.raises(UsageError, match="there is no circuit to find"):
        unlearned(data=corpora(pairs=wrong))
    with pytest.raises(UsageError, match="k is 7"):
        unlearned(k=7)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"floor": "cel"}, "floor is 'cel'"),
        ({"circuit": "eep"}, "circuit is"),
        ({"projection": "off"}, "projection is"),
        ({"choose": "first"}, "choose is"),
        ({"loss": "none"}, "loss is"),
        ({"weighed": 0}, "out of range"),
        ({"tau": 99}, "out of range"),
        ({"share": 0}, "out of range"),
        ({"settle_lr": 0}, "settle_lr"),
        ({"steps": 0}, "steps"),
        ({"settle": 5, "floor": "none"}, "settle trains above the cell floor"),
        ({"weight_decay": 0.1}, "weight_decay would move"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(changes, says):
    with pytest.raises(UsageError, match=says):
        Mansu(**changes)
