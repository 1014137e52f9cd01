"""YAML by hand: each value and its line, and what has no place in a policy or a suite."""

import math

import pytest

from unlearn_guard.reading.strict_yaml import parse


def said(text):
    return [(defect.where, defect.found) for defect in parse(text, "f").defects]


def test_values_are_those_of_yaml_1_2():
    listed = "[no, true, FALSE, null, ~, 1e-3, .5, -2., +3, 007x, '1', 1.5e+3, 'true', -0]"
    document = parse(f"a: 1\nb: {listed}\nc: {{d: -7, e: text}}\n", "f")
    assert document.defects == []
    assert document.value == {
        "a": 1,
        "b": ["no", True, False, None, None, 0.001, 0.5, -2.0, 3, "007x", "1", 1500.0, "true", 0],
        "c": {"d": -7, "e": "text"},
    }
    assert [type(each) for each in document.value["b"][5:9]] == [float, float, float, int]
    assert parse("", "f").value is None


def test_numbers_that_are_none_are_read_as_such_and_refused_by_whoever_asked_for_one():
    found = parse("a: .inf\nb: -.Inf\nc: .NAN\nd: +.inf\n", "f").value
    assert (found["a"], found["b"], found["d"]) == (math.inf, -math.inf, math.inf)
    assert math.isnan(found["c"])


def test_an_integer_longer_than_any_count_is_a_float():
    found = parse(f"a: {'1' * 18}\nb: {'1' * 19}\nc: {'9' * 5000}\n", "f").value
    assert (found["a"], type(found["a"])) == (int("1" * 18), int)
    assert (found["b"], type(found["b"])) == (float("1" * 19), float)
    assert found["c"] == math.inf


@pytest.mark.parametrize("number", ["012", "00", "0x1f", "0o7", "1_0", "1_0.5"])
def test_notations_that_people_misread_are_refused(number):
    assert said(f"a: 1\nb: {number}\n") == [("f:2", f"the number '{number}'")]
    assert parse(f"a: {number}", "f").defects[0].expected == "a plain decimal number such as 0.15"


def test_every_value_has_the_line_on_which_its_key_stands():
    document = parse("a: 1\nb:\n  - c: 1\n    d:\n      2\n  - 3\n", "f")
    assert document.lines == {
        (): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 0, "c"): 3, ("b", 0, "d"): 4, ("b", 1): 6,
    }  # fmt: skip


def test_where_is_the_nearest_value_around_what_is_not_there():
    document = parse("a: 1\nb:\n  - c: 1\n", "f")
    assert document.where(("b", 0, "c")) == document.where(("b", 0, "x", "y")) == "f:3"
    assert document.where(("b", 1)) == "f:2"
    assert document.where(("z",)) == document.where(()) == "f:1"
    assert parse("", "f").where(("a",)) == "f:1"


def test_a_key_twice_keeps_the_first_and_names_its_line():
    document = parse("a: 1\nb: 2\na: 3\n", "f")
    assert document.value == {"a": 1, "b": 2}
    assert said("a: 1\nb: 2\na: 3\n") == [("f:3", "key 'a' again (first in line 1)")]
    assert said("? [a]\n: 1\nb: 2\nb: 3\n") == [
        ("f:1", "a key that is not a word"),
        ("f:4", "key 'b' again (first in line 3)"),
    ]


@pytest.mark.parametrize("value", ["1", "[1]", "{b: 1}"])
def test_anchors_and_tags_are_refused_on_every_kind_of_value(value):
    assert said(f"x: 0\na: &x {value}\n") == [("f:2", "an anchor (&x)")]
    assert said(f"x: 0\na: !x {value}\n") == [("f:2", "a tag (!x)")]
    assert [parse(f"a: {mark} {value}", "f").defects[0].fix for mark in ("&x", "!x")] == [
        "Write the value out where it is used.",
        "",
    ]


def test_aliases_directives_and_further_documents_are_refused_all_at_once():
    assert said("a: 1\nb: *x\n") == [("f:2", "an alias (*x)")]
    assert said("a: &x 1\nb: *x\n") == [("f:1", "an anchor (&x)"), ("f:2", "an alias (*x)")]
    for directive in ("%YAML 1.2", "%TAG ! tag:x,2000:"):
        assert said(f"{directive}\n---\na: 1\n") == [("f:2", "a % directive")]
    assert said("a: 1\n---\nb: 1\n---\nc: 1\n") == [
        ("f:2", "a second document (---)"),
        ("f:4", "a second document (---)"),
    ]
    assert parse("---\na: 1\n", "f").value == {"a": 1}


def test_eight_levels_are_read_and_nine_refused():
    """Side by side they do not add up; mappings and lists count alike."""
    assert said("a: [[[[[[[1]]]]]]]\nb: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}\n") == []
    assert said("a: 1\nb: [[[[[[[[1]]]]]]]]\nc: *x\n") == [("f:2", "values nested more than 8 deep")]
    assert said("a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}") == [("f:1", "values nested more than 8 deep")]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a: 1\nb: 'x", 2, "unexpected end of stream"),
        ("a: 1\nb: c: d", 2, "mapping values are not allowed here"),
        ("a: 1\n- b\n", 2, "expected <block end>, but found '-'"),
        ("a: \x00", 1, "unacceptable character #x0000"),
    ],
)
def test_what_is_no_yaml_says_in_which_line(text, line, found):
    (defect,) = parse(text, "f").defects
    assert (defect.where, defect.expected) == (f"f:{line}", "YAML")
    assert defect.found.startswith(found)


@pytest.mark.parametrize("half", [r"\ud800", r"\udfff"])
def test_half_of_a_character_is_refused_as_a_value_and_as_a_key(half):
    assert said(f'a: 1\nb: "x{half}"\n') == [("f:2", "half of a character")]
    assert said(f'"{half}": 1\n') == [("f:1", "a key that is not a word")]


def test_the_characters_beside_the_halves_are_whole():
    assert parse(r'a: "\ud7ff\ue000"', "f").value == {"a": "\ud7ff\ue000"}
