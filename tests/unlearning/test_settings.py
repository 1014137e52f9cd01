"""KEY=VALUE becomes a hyperparameter of its field's type, or a message that names the field."""

from dataclasses import dataclass
from typing import Literal

import pytest

from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.settings import configure, hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    lr: float = 1e-5
    steps: int = 10
    clip: float | None = 1.0
    over: Literal["ga", "npo", "none"] = "ga"
    project: bool = True


def test_text_becomes_the_fields_type() -> None:
    made = configure(Example, "example", {"lr": "1e-3", "clip": "none", "over": "npo", "project": "false"})
    assert made == Example(lr=0.001, clip=None, over="npo", project=False)
    assert hyperparameters(made) == {"lr": 0.001, "steps": 10, "clip": None, "over": "npo", "project": False}


def test_none_is_a_word_where_a_field_cannot_be_empty() -> None:
    assert configure(Example, "example", {"clip": "none", "over": "none"}) == Example(clip=None, over="none")


def test_what_the_user_says_wins_over_what_the_suite_found() -> None:
    assert configure(Example, "example", {"lr": 0.5, "steps": 3}, {"lr": "0.25"}) == Example(lr=0.25, steps=3)


def test_an_unknown_name_is_refused_with_a_near_one() -> None:
    with pytest.raises(UsageError, match="Did you mean steps"):
        configure(Example, "example", {"step": "3"})


def test_every_value_of_another_type_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        configure(Example, "example", {"steps": "many", "over": "sgd", "lr": ""})
    assert {defect.where for defect in caught.value.defects} == {"example: steps", "example: over", "example: lr"}
