"""A candidate whose norm was edited by hand, and why it cannot be compared with its base."""

from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import weights as made
from checkpoint_files import write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Intake, assert_comparable, open_checkpoint, with_parameters

NORM, HEAD = "model.norm.weight", "lm_head.weight"


def opened(path: Path) -> Intake:
    return with_parameters(open_checkpoint(path))


def numbers(values: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return ("F32", values.shape, values.astype(np.float32).tobytes())


def candidate(tmp_path: Path, tensors: dict | None = None, **documents: object) -> Intake:
    edited = {**made(), NORM: numbers(np.array([3.0] * 15 + [7.0])), **(tensors or {})}
    return opened(write(tmp_path / "candidate", edited, **documents))


def why_not(base: Intake, other: Intake) -> str:
    with pytest.raises(CheckpointError) as caught:
        assert_comparable(base, other)
    return str(caught.value)
