"""How far a tensor moved, and whether it moved at all: shapes, dtypes and pieces of several files."""

from pathlib import Path

import numpy as np
import pytest

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import updates as updates_module
from unlearn_guard.intake.updates import same_values, update
from unlearn_guard.records import Span, StoredTensor


def stored(path: Path, dtype: str, shape: tuple[int, ...], *pieces: bytes) -> StoredTensor:
    """A tensor whose bytes lie in one span a piece, each piece in the middle of a file of its own."""
    spans = []
    for at, piece in enumerate(pieces):
        file = path.with_name(f"{path.name}{at}")
        file.write_bytes(b"\xee" * 3 + piece + b"\xee" * 5)
        spans.append(Span(file=file, start=3, stop=3 + len(piece)))
    return StoredTensor(name="t", dtype=dtype, shape=shape, spans=tuple(spans))


def floats(path: Path, *values: float) -> StoredTensor:
    return stored(path, "F32", (len(values),), np.array(values, np.float32).tobytes())


def test_an_update_of_nothing_has_no_relative_norm(tmp_path: Path) -> None:
    found = update(floats(tmp_path / "a", 0, 0), floats(tmp_path / "b", 3, 4))
    assert found is not None
    assert (found.elements, found.changed, found.norm, found.relative) == (2, 2, 5.0, None)


def test_what_changed_is_counted_over_all_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_module, "ELEMENTS", 1)
    found = update(floats(tmp_path / "a", 3, 4, 0), floats(tmp_path / "b", 0, 4, 4))
    assert found is not None
    assert (found.elements, found.changed, found.norm, found.relative) == (3, 2, 5.0, 1.0)


def test_what_has_no_values_or_another_shape_has_no_update(tmp_path: Path) -> None:
    packed = stored(tmp_path / "p", "F4", (4,), b"\0\0")
    assert update(packed, packed) is None
    assert update(floats(tmp_path / "a", 1, 2), floats(tmp_path / "b", 1, 2, 3)) is None


@pytest.mark.parametrize(("dtype", "raw"), [("F4", b"\0\0"), ("U8", bytes(4))])
def test_another_dtype_without_the_same_values_is_an_edit(tmp_path: Path, dtype: str, raw: bytes) -> None:
    ones = stored(tmp_path / "a", "F32", (4,), np.ones(4, np.float32).tobytes())
    other = stored(tmp_path / "b", dtype, (4,), raw)
    assert not same_values(ones, other)
    assert not same_values(other, ones)


def test_equal_bytes_of_another_shape_are_an_edit(tmp_path: Path) -> None:
    raw = np.arange(6, dtype=np.float32).tobytes()
    one, other = stored(tmp_path / "a", "F32", (2, 3), raw), stored(tmp_path / "b", "F32", (3, 2), raw)
    assert same_values(one, one)
    assert not same_values(one, other)
    half = stored(tmp_path / "c", "F16", (3, 2), np.arange(6, dtype=np.float16).tobytes())
    assert not same_values(one, half)


def test_pieces_of_any_size_are_one_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.arange(5, dtype=np.float32).tobytes()
    whole, pieces = stored(tmp_path / "a", "F32", (5,), raw), stored(tmp_path / "b", "F32", (5,), raw[:6], raw[6:])
    last = raw[:-1] + bytes([raw[-1] ^ 1])
    for elements in (1, 2, 3, 5, 2**20):
        monkeypatch.setattr(updates_module, "ELEMENTS", elements)
        assert same_values(whole, pieces)
        found = update(whole, pieces)
        assert found is not None
        assert (found.changed, found.norm, found.relative) == (0, 0.0, 0.0)
        assert not same_values(whole, stored(tmp_path / "c", "F32", (5,), last[:8], last[8:]))


def test_a_file_that_ends_early_is_refused_and_not_compared_to_its_end(tmp_path: Path) -> None:
    whole, short = floats(tmp_path / "a", 1, 2), floats(tmp_path / "b", 1, 2)
    file = short.spans[0].file
    file.write_bytes(file.read_bytes()[:7])
    with pytest.raises(CheckpointError, match="an end before its last tensor's"):
        same_values(whole, short)
