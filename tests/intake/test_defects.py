"""A checkpoint's own text in a message: in quotes, cut, and nothing that a terminal would obey."""

import pytest

from unlearn_guard.intake.defects import SHOWN, listed, plain, shown


class Loud:
    def __repr__(self) -> str:
        return "a\x1b[2Jb"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a\n\x1b\u202e", r"'a\n\x1b\u202e'"),
        ([1, "\x1b"], r"[1, '\x1b']"),
        (Loud(), "a?[2Jb"),
        ("x" * SHOWN, repr("x" * SHOWN)),
        ("x" * (SHOWN + 1), f"{'x' * SHOWN!r}... ({SHOWN + 1} characters)"),
    ],
)
def test_what_is_shown(given: object, said: str) -> None:
    assert shown(given) == said


def test_a_plain_text_stands_without_quotes_where_it_is_short_and_printable() -> None:
    assert plain("x" * SHOWN) == "x" * SHOWN
    assert plain("x" * (SHOWN + 1)) == shown("x" * (SHOWN + 1))
    assert plain("\x1b") == r"'\x1b'"


def test_a_list_says_how_many_more_there_are() -> None:
    assert listed(["a", "b"], most=2) == "'a', 'b'"
    assert listed(["a", "b", "c"], most=2) == "'a', 'b' and 1 more"
    assert listed([str(at) for at in range(9)]).endswith("'7' and 1 more")
