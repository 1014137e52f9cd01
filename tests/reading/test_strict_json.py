"""JSON that another reader would take otherwise, or that no number holds, is refused as it is read."""

import pytest

from unlearn_guard.reading import strict_json


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        "[NaN]",
        "[-Infinity]",
        "[1e999]",
        "[" + "1" * 400 + "]",
        "[-" + "1" * 5000 + "]",
        "[" * 100_000 + "]" * 100_000,
        "\xff",
        "",
    ],
)
def test_what_cannot_be_meant_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text.encode("latin-1"))


@pytest.mark.parametrize("number", [0, -1, 2**62, -(2**62), 10**18])
def test_counts_are_read_as_they_are(number):
    assert strict_json.loads(strict_json.canonical({"n": number})) == {"n": number}


def test_the_same_value_has_the_same_bytes():
    value = {"b": [1, 2.5, None, True], "a": "ü"}
    assert strict_json.canonical(value) == b'{"a":"\\u00fc","b":[1,2.5,null,true]}'
    assert strict_json.canonical(dict(reversed(value.items()))) == strict_json.canonical(value)
    assert strict_json.pretty({"b": 1, "a": [2]}) == b'{\n  "b": 1,\n  "a": [\n    2\n  ]\n}\n'
    assert strict_json.digest(b"abc").startswith("sha256:ba7816bf8f01cfea414140de5dae2223")


@pytest.mark.parametrize("write", [strict_json.canonical, strict_json.pretty])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_lacks_is_not_written(write, number):
    with pytest.raises(ValueError, match="JSON compliant"):
        write([number])


def test_values_are_read_as_any_reader_would():
    text = b'{"a": [1, -2.5, 1e3, true, null, "\\u00fc"], "b": {"a": {}}}'
    assert strict_json.loads(text) == {"a": [1, -2.5, 1000.0, True, None, "ü"], "b": {"a": {}}}


def test_large_integers_are_for_who_asks_for_them():
    text = b"[12345678901234567890, 1, 2.5]"
    with pytest.raises(ValueError, match="too large"):
        strict_json.loads(text)
    assert strict_json.loads(text, whole=int) == [12345678901234567890, 1, 2.5]
    for other in (b"[NaN]", b"[1e999]", b'{"a": 1, "a": 1}'):
        with pytest.raises(ValueError, match=r"number|twice"):
            strict_json.loads(other, whole=int)


def test_of_a_doubled_key_the_doubled_one_is_named():
    with pytest.raises(ValueError, match="the key 'b' twice"):
        strict_json.loads(b'{"a": 1, "b": 2, "c": 3, "b": 2}')


def test_depth_has_a_name_of_its_own():
    with pytest.raises(strict_json.NestedTooDeepError):
        strict_json.loads(b"[" * 100_000)
