"""A run directory to bend."""

import pytest

from tests.oracles.made_directory import made_directory
from unlearn_guard.reopening.run import read_run


@pytest.fixture
def run_dir(tmp_path):
    """A run that failed."""
    out = made_directory(tmp_path / "run")
    assert read_run(out).verdict.failed
    return out
