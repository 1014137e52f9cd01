"""--grid: every combination, as `--set` would give it, and every defect with its line."""

import pytest

from unlearn_guard.comparing.grid_file import read_grid
from unlearn_guard.errors import UsageError

METHODS = ("npo", "gu")


def read(tmp_path, text):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return read_grid(path, METHODS)


def test_every_combination_in_the_file_s_order(tmp_path):
    found = read(tmp_path, "npo:\n  lr: [1e-4, 3e-4]\n  steps: 20\ngu: {floor: [none, true]}\n")
    assert found["npo"] == ({"lr": "0.0001", "steps": "20"}, {"lr": "0.0003", "steps": "20"})
    assert found["gu"] == ({"floor": "none"}, {"floor": "true"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no methods"),
        ("- npo", "no methods"),
        ("nppo: {lr: 1}", "Did you mean npo"),
        ("npo: 3", "hyperparameters"),
        ("npo: {}", "hyperparameters"),
        ("npo:\n  lr: []", "grid.yaml:2"),
        ("npo:\n  lr: [1, 1]", "different"),
        ("npo:\n  lr: {a: 1}", "a value"),
        ("npo: {lr: 1}\nnpo: {lr: 2}", "again"),
    ],
)
def test_what_is_no_grid_is_refused(tmp_path, text, said):
    with pytest.raises(UsageError, match="grid") as error:
        read(tmp_path, text)
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        read_grid(tmp_path / "nowhere", METHODS)
