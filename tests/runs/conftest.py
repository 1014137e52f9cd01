"""A place for a run and one that was written there; an empty store."""

import pytest

from tests.oracles.made_scores import made_run
from unlearn_guard.runs.directory import write_run
from unlearn_guard.runs.store import Store


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def written(out):
    run, scores = made_run()
    write_run(run, scores, out)
    return out


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")
