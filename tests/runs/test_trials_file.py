"""Trials as they lie in a run directory: the same back, and nothing else."""

import json

import pytest

from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.records import BASE, CANDIDATE, CONTROL, Trial, Trials
from unlearn_guard.runs.trials_file import file_name, read_trials, write_trials

TRIALS = Trials(
    metric="relearn_recovery",
    task="a/b",
    precision="full",
    subject="sha256:candidate",
    items=("a/b-0", "a/b-1"),
    trials=(
        Trial(who=BASE, setting="as it is", correct=(1.0, 1.0)),
        Trial(who=CANDIDATE, setting="lr 0.001, 5 steps", correct=(0.0, 1.0)),
        Trial(who=CONTROL, setting="drawn blindly", correct=(0.25, 0.25)),
    ),
)


@pytest.fixture
def path(tmp_path):
    write_trials(tmp_path, TRIALS)
    (found,) = tmp_path.iterdir()
    return found


def test_what_is_written_is_read(path):
    assert path.name == file_name("relearn_recovery", "a/b", "full") == "relearn_recovery.a%2Fb.full.json"
    assert read_trials(path) == TRIALS


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.update(schema="unlearn-guard.trials/2"),
        lambda held: held["trials"].update(precision="nf4"),
        lambda held: held["trials"].update(items=["a/b-0", "a/b-0"]),
        lambda held: held["trials"]["trials"].pop(),
        lambda held: held["trials"]["trials"][0].update(correct=[1.0]),
        lambda held: held["trials"]["trials"][0].update(correct=[2.0, 1.0]),
        lambda held: held["trials"]["trials"][0].update(correct=["1", 1.0]),
        lambda held: held["trials"]["trials"][0].update(who="nobody"),
        lambda held: held["trials"].pop("subject"),
    ],
)
def test_what_cannot_be_is_refused(path, change):
    held = json.loads(path.read_bytes())
    change(held)
    path.write_text(json.dumps(held))
    with pytest.raises(RunDirectoryError, match="does not hold trials of this run"):
        read_trials(path)


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema": 1, "schema": 1}', b"[]"])
def test_what_is_no_json_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(RunDirectoryError, match="does not hold trials of this run"):
        read_trials(path)
