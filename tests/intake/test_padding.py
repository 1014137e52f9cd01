"""The padding id by which a candidate's own `generate` hides tokens of a prompt."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import open_checkpoint, padding_ids
from unlearn_guard.intake.intake import Intake


def with_settings(folder: Path, settings: dict[str, Any]) -> Intake:
    (write(folder) / "generation_config.json").write_text(json.dumps(settings))
    return open_checkpoint(folder)


@pytest.mark.parametrize(
    ("ours", "theirs", "hidden"),
    [
        ({}, {}, set()),
        ({}, {"pad_token_id": 3}, {3}),
        ({}, {"pad_token_id": 0}, {0}),
        ({"pad_token_id": 3}, {"pad_token_id": 3}, set()),
        ({"pad_token_id": 4}, {"pad_token_id": 3}, {3}),
        ({"pad_token_id": 3}, {}, set()),
        ({}, {"pad_token_id": 3, "eos_token_id": 3}, set()),  # which makes no mask
        ({}, {"pad_token_id": 3, "eos_token_id": [2, 3]}, set()),
        ({}, {"pad_token_id": 3, "eos_token_id": [2, 4]}, {3}),
    ],
)
def test_which_ids_are_hidden(tmp_path: Path, ours: dict, theirs: dict, hidden: set[int]) -> None:
    assert padding_ids(with_settings(tmp_path / "a", ours), with_settings(tmp_path / "b", theirs)) == hidden


@pytest.mark.parametrize("ends", ["2", [2, "3"], True, [2, None], 2.0])
def test_ends_that_are_no_ids_are_refused(tmp_path: Path, ends: object) -> None:
    sides = with_settings(tmp_path / "a", {}), with_settings(tmp_path / "b", {"eos_token_id": ends})
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        padding_ids(*sides)
