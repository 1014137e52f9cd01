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
