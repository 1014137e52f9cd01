"""Fixtures of a sound checkpoint, and of what a refusal must look like."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import weights as made
from checkpoint_files import write
from edited import NORM, numbers
from edited import opened as with_its_parameters

from unlearn_guard.errors import CheckpointError, ExitStatus
from unlearn_guard.intake import Intake, open_checkpoint


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write(tmp_path / "sound")


@pytest.fixture
def refused() -> Callable[..., CheckpointError]:
    def check(location: str | Path, *patterns: str, **options: Any) -> CheckpointError:
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(location, **options)
        assert caught.value.exit_status is ExitStatus.USAGE
        message = str(caught.value)
        for pattern in patterns:
            assert re.search(pattern, message), f"{pattern!r} is not in:\n{message}"
        assert all(line.isprintable() for line in message.splitlines())
        return caught.value

    return check


@pytest.fixture
def opened(sound: Path) -> Intake:
    return open_checkpoint(sound)


@pytest.fixture
def base(tmp_path: Path) -> Intake:
    return with_its_parameters(write(tmp_path / "base", {**made(), NORM: numbers(np.full(16, 3.0))}))
