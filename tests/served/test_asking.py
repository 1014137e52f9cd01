"""Which choice an answer names, in every form that servers have."""

import math

import pytest

from unlearn_guard.errors import MeasurementError
from unlearn_guard.served.asking import likeliest, written
from unlearn_guard.served.choices import Choice
from unlearn_guard.served.replies import read

LETTERS = [Choice(prompt="Q", head=(1,), text=f" {letter}", ids=(number,)) for number, letter in enumerate("ABCD", 10)]


def listed(*pairs):
    top = [{"token": text, "logprob": value} | more for text, value, more in pairs]
    content = [{"token": "x", "logprob": -0.1, "top_logprobs": top}]
    return read({"choices": [{"text": "x", "logprobs": {"content": content}}], "usage": {"prompt_tokens": 3}})


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(" B", -1.0, {}), (" A", -2.0, {})], 1),
        ([("the", -0.1, {}), (" D", -9.0, {})], 3),  # whatever is not listed is less likely than all that is
        ([("the", -0.1, {}), ("a", -0.2, {})], None),
        ([(" B", -3.0, {}), ("A", -1.0, {})], 1),  # " A" was scored, "A" is another token
        ([("B", -3.0, {}), ("A", -1.0, {})], 0),  # but of a server that leaves spaces out there are only these
        ([("zz", -1.0, {"id": 12}), (" A", -0.5, {"id": 99})], 2),  # an id is surer than a text
        ([(" C", -1e40, {})], None),
    ],
)
def test_the_likeliest_of_those_listed(pairs, expected):
    assert likeliest(listed(*pairs), LETTERS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" B", 1),
        ("B.", 1),
        ("(C) because", 2),
        ("**D**", 3),
        ("Bell", None),
        ("Because", None),
        ("b", None),
        ("", None),
        ("I think A", None),
    ],
)
def test_the_letter_that_was_written(text, expected):
    assert written(text, LETTERS) == expected


def test_of_two_choices_that_begin_alike_the_longer_was_written():
    choices = [Choice(prompt="Q", head=(1,), text=text, ids=(5,)) for text in (" new", " new york")]
    assert written("new york.", choices) == 1
    assert written("new.", choices) == 0


def test_parallel_lists_are_read_as_the_list_of_tokens_is():
    told = {"tokens": [" B"], "token_logprobs": [-0.5], "top_logprobs": [{" B": -0.5, " A": -1.5}]}
    found = read({"choices": [{"text": " B", "logprobs": told}]})
    assert likeliest(found, LETTERS) == 1
    assert found.prompt_tokens is None


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [{"logprobs": {}}]},
        {"choices": [{"text": "x", "logprobs": {"content": [{"token": "x", "logprob": math.nan}]}}]},
        {"choices": [{"text": "x", "logprobs": {"content": [{"token": "x", "logprob": 0.7}]}}]},
        {"choices": [{"text": "x", "logprobs": {"content": [{"token": "x", "logprob": None}]}}]},
        {"choices": [{"text": "x", "logprobs": {"tokens": ["a", "b"], "token_logprobs": [-1.0]}}]},
    ],
)
def test_what_is_no_answer_of_this_api_is_refused(answer):
    with pytest.raises(MeasurementError, match="not one of this API"):
        read(answer)
