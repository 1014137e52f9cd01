"""A JSON document at its bounds: as deep and as large as is allowed, and one more."""

from pathlib import Path

import pytest

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake.documents import DEPTH, parse, read_bytes, read_document


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_as_many_levels_as_allowed_are_read_and_one_more_is_not(opening: str, closing: str) -> None:
    inner = "1" if closing == "}" else ""
    parse((opening * DEPTH + inner + closing * DEPTH).encode(), "x")
    with pytest.raises(CheckpointError, match=f"more than {DEPTH} levels"):
        parse((opening * (DEPTH + 1) + inner + closing * (DEPTH + 1)).encode(), "x")


def test_depth_is_that_of_the_deepest_branch() -> None:
    deep = "[" * DEPTH + "]" * DEPTH
    for text in (f'{{"a": 1, "b": {deep}, "c": 1}}', f"[1, {deep}, 2]"):
        with pytest.raises(CheckpointError, match="levels"):
            parse(text.encode(), "x")


def test_as_many_bytes_as_allowed_are_read_and_one_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a":1}')
    assert read_bytes(path, at_most=7) == b'{"a":1}'
    assert read_document(path, at_most=7) == {"a": 1}
    with pytest.raises(CheckpointError, match=r"a\.json: found more than 6 bytes"):
        read_document(path, at_most=6)
    with pytest.raises(CheckpointError, match=r"gone\.json: found it cannot be read"):
        read_bytes(tmp_path / "gone.json", at_most=6)


def test_whole_numbers_of_any_size_are_read_as_they_are() -> None:
    assert parse(b'{"a": 1000000000000000000000000000000}', "x") == {"a": 10**30}
