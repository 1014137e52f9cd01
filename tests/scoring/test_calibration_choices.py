"""What is calibrated on in the worst case, by hand: which questions with which answers, and how short ones join."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.oracles.made_scores import made_task
from unlearn_guard.errors import SuiteError
from unlearn_guard.records import Role
from unlearn_guard.scoring.calibration_choices import CHOICES, choice_texts
from unlearn_guard.scoring.questions import Item


def item(target: str, *requests: tuple[Any, ...]) -> Item:
    return Item(id="i", prompt="p", target=target, requests=tuple(SimpleNamespace(args=each) for each in requests))  # type: ignore[misc]


def rendered(forget: list[Item], retain: list[Item]) -> Any:
    tasks = [
        SimpleNamespace(task=made_task(1, role.value, role), items=tuple(items))
        for role, items in ((Role.FORGET, forget), (Role.RETAIN, retain))
    ]
    return SimpleNamespace(tasks=tasks, suite=SimpleNamespace(name="made"))


def texts(choice: str, forget: list[Item], retain: list[Item], *, samples: int = 9, shortest: int = 1) -> Any:
    words = lambda text: len(text.split())  # noqa: E731 - a token a word
    return choice_texts(rendered(forget, retain), choice, samples, length=words, shortest=shortest)


LETTERS = item("1", ("Who ?", " A"), ("Who ?", " B"))
WRITTEN = item("in Rome", ("Where ?", {"until": ["."]}))
PLAIN = item("0", ("It is", " late"))
ROLLED = item("", ("a text of its own",))


def test_the_forget_text_has_the_right_answer_and_near_it_has_none() -> None:
    asked = [LETTERS, WRITTEN, PLAIN, ROLLED]
    assert texts("forget", asked, []) == ("Who ? B", "Where ? in Rome", "It is late", "a text of its own")
    assert texts("near-forget", asked, []) == ("Who ?", "Where ?", "It is", "a text of its own")


def test_what_should_stay_is_the_retain_tasks_alone() -> None:
    assert texts("retain", [WRITTEN], [LETTERS]) == ("Who ? B",)
    assert CHOICES == ("retain", "near-forget", "forget")


def test_short_texts_join_the_next_and_no_more_than_asked_are_made() -> None:
    many = [item("0", (f"q{number}", " a")) for number in range(7)]
    assert texts("forget", many, [], shortest=4) == ("q0 a\nq1 a", "q2 a\nq3 a", "q4 a\nq5 a")
    assert texts("forget", many, [], shortest=4, samples=2) == ("q0 a\nq1 a", "q2 a\nq3 a")
    assert texts("forget", [LETTERS, LETTERS], []) == ("Who ? B",)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(SuiteError, match="the forget questions of made have fewer than 11 tokens together"):
        texts("forget", [LETTERS], [], shortest=11)
