"""Answers, a line each: what is written is read, and what is no answer is refused by field and line."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn_guard.records import Sample
from unlearn_guard.runs import samples

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(
    st.lists(
        st.builds(
            Sample, id=words, prompt=words, target=words, correct=st.floats(0, 1),
            loglikelihoods=st.none() | st.lists(st.floats(max_value=0, allow_nan=False), max_size=4).map(tuple),
            text=st.none() | st.text(st.characters(codec="utf-8"), max_size=30),
        ),
        max_size=4,
    )
)  # fmt: skip
def test_any_answers_come_back(items):
    assert samples.from_lines(samples.to_lines(items)) == tuple(items)


def test_impossible_answers_are_written_as_strict_json():
    line = samples.to_lines([Sample(id="1", prompt="p", target="A", correct=0.0, loglikelihoods=(-math.inf, -1.0))])
    assert b'"-inf"' in line
    assert samples.from_lines(line)[0].loglikelihoods == (-math.inf, -1.0)


def test_names_stay_inside_of_the_directory():
    assert samples.file_name("../../etc/x", "nf4", "base") == "samples/..%2F..%2Fetc%2Fx.nf4.base.jsonl"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": 1}, "id: 1 is not text"),
        ({"prompt": None}, "prompt: None is not text"),
        ({"target": ["A"]}, "is not text"),
        ({"text": 3}, "text: 3 is not text"),
        ({"loglikelihoods": "-1"}, "loglikelihoods: not a list"),
        ({"loglikelihoods": ["-infinity"]}, "loglikelihoods: '-infinity' is not a number"),
        ({"loglikelihoods": [True]}, "loglikelihoods: True is not a number"),
        ({"correct": "1"}, "correct: '1' is not a number"),
        ({"correct": True}, "correct: True is not a number"),
        ({"correct": None}, "correct: None is not a number"),
    ],
)
def test_an_answer_that_is_none_is_refused_by_field_and_line(change, said):
    good = {"id": "1", "prompt": "p", "target": "A", "correct": 1, "more": 0}
    lines = [json.dumps(each).encode() for each in (good, {**good, **change})]
    assert samples.from_lines(lines[0]) == (Sample(id="1", prompt="p", target="A", correct=1.0),)
    with pytest.raises(ValueError, match="line 2: ") as caught:
        samples.from_lines(b"\n".join(lines))
    assert said in str(caught.value)
    with pytest.raises(ValueError, match="line 1: not an object"):
        samples.from_lines(b"[]")


def test_dots_alone_part_a_name():
    assert samples.file_name("a/b", "c/d", "base") == "samples/a%2Fb.c%2Fd.base.jsonl"


@pytest.mark.parametrize("share", [math.nan, math.inf])
def test_a_share_that_json_lacks_is_not_written(share):
    item = Sample(id="1", prompt="p", target="A", correct=0.0, text="x")
    object.__setattr__(item, "correct", share)
    with pytest.raises(ValueError, match="JSON compliant"):
        samples.to_lines([item])
