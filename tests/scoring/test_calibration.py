"""Quantizers calibrate on what the suite says, and on nothing that should be forgotten."""

import json
from dataclasses import replace

import pytest

from unlearn_guard.errors import SuiteError
from unlearn_guard.scoring.calibration import calibration_texts


def chosen(rendered, samples, shortest=1):
    """A word is a token."""
    return calibration_texts(rendered, samples, length=lambda text: len(text.split()), shortest=shortest)


def with_source(rendered, source):
    return replace(rendered, suite=replace(rendered.suite, calibration=source))


def test_retain_prompts_are_taken_in_turn_and_forget_prompts_never(rendered):
    texts = chosen(rendered, 10).texts
    retain = {item.requests[0].args[0] for each in rendered.tasks[1:] for item in each.items}
    forget = {item.requests[0].args[0] for item in rendered.tasks[0].items}
    assert len(set(texts)) == 10
    assert set(texts) <= retain
    assert not set(texts) & forget


def test_a_file_gives_its_first_distinct_texts(rendered, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("one", "two", "one", "three")))
    assert chosen(with_source(rendered, path), 3).texts == ("one", "two", "three")
    with pytest.raises(
        SuiteError, match="3 different calibration texts, 3 of them with at least 1 tokens; 4 are wanted"
    ):
        chosen(with_source(rendered, path), 4)


def test_every_bad_line_is_named(rendered, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "one"}\n{"txt": 1}\nnot json\n')
    with pytest.raises(SuiteError) as caught:
        chosen(with_source(rendered, path), 1)
    assert [defect.where[-2:] for defect in caught.value.defects] == [":2", ":3"]


def test_a_suite_without_a_source_cannot_calibrate(rendered):
    with pytest.raises(SuiteError, match="names no calibration source"):
        chosen(with_source(rendered, None), 1)
    with pytest.raises(SuiteError, match="at least 1"):
        chosen(rendered, 0)


def test_short_texts_are_passed_over_and_counted_in_order(rendered, tmp_path):
    """Of one, three, two, three and four words the first two of three words or more are the second and the fourth."""
    path = tmp_path / "texts.jsonl"
    texts = ("a", "b b b", "c c", "d d d", "e e e e")
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = chosen(with_source(rendered, path), 2, shortest=3)
    assert (found.texts, found.passed_over) == (("b b b", "d d d"), 2)
    with pytest.raises(SuiteError, match="5 different calibration texts, 3 of them with at least 3 tokens; 4 are want"):
        chosen(with_source(rendered, path), 4, shortest=3)
