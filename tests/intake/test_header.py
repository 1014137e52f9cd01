"""Headers: what safetensors accepts we read alike, what is broken is a CheckpointError and nothing else."""

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import WIDTHS, encode, framed, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake.header import LONGEST, MOST_ELEMENTS, Span, _overflows, read_header

TWO = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def parsed(raw: bytes) -> tuple[Span, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(raw)
        return read_header(path)


def upstream(raw: bytes) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """What the safetensors library reads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(raw)
        with safe_open(path, "numpy") as file:
            return {name: (file.get_tensor(name).shape, file.get_tensor(name).tobytes()) for name in file.keys()}  # noqa: SIM118


def ours(raw: bytes) -> dict[str, tuple[tuple[int, ...], bytes]]:
    return {span.name: (span.shape, raw[span.start : span.stop]) for span in parsed(raw)}


def entry(**changes: object) -> bytes:
    return framed(json.dumps({"a": {**TWO["a"], **changes}}).encode(), bytes(8))


def test_a_hand_written_file_has_the_spans_counted_by_hand() -> None:
    header = (
        b'{"b":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},"a":{"dtype":"F64","shape":[],"data_offsets":[6,14]}}'
    )
    b, a = parsed(framed(header, bytes(14)))
    start = 8 + len(header)
    assert (b.name, b.dtype, b.shape, b.start, b.stop) == ("b", "BF16", (3,), start, start + 6)
    assert (a.name, a.shape, a.elements, a.start, a.stop) == ("a", (), 1, start + 6, start + 14)


def nested(depth: int) -> bytes:
    return framed(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


BROKEN = {
    "empty": (b"", r"an empty file; expected a safetensors file"),
    "seven bytes": (b"1234567", r"found 7 bytes"),
    "header past the end": ((50).to_bytes(8, "little") + b"{}", r"a header of 50 bytes in a file of 10; .*at least 58"),
    "header over the bound": ((LONGEST + 1).to_bytes(8, "little") + b"{}", r"length of 100000001 bytes; .*100000000"),
    "not JSON": (framed(b"{oops"), r"header: found broken JSON at line 1, column 2"),
    "not UTF-8": (framed(b'{"\xff": 1}'), r"not UTF-8, at byte 2"),
    "a list": (framed(b"[]"), r"begins with"),
    "duplicate": (framed(b'{"a":1,"a":2}'), r"the key 'a' twice"),
    "deep": (nested(100_000), r"more than 64 levels"),
    "a little deep": (nested(80), r"more than 64 levels"),
    "NaN": (framed(b'{"a":NaN}'), r"the number NaN"),
    "1e999": (framed(b'{"a":1e999}'), r"infinite as a double"),
    "digits": (framed(b'{"a":' + b"9" * 5000 + b"}"), r"4300"),
    "truncated": (entry()[:-1], r"cut short: .*expected \d+ bytes"),
    "trailing": (entry() + b"x", r"1 trailing bytes that belong to no tensor"),
    "metadata": (framed(b'{"__metadata__":{"a":1}}'), r"__metadata__: .*strings"),
    "not an object": (framed(b'{"a":5}'), r"tensor 'a': found 5; expected an object"),
    "extra key": (entry(extra=1), r"an object of dtype, shape and data_offsets"),
    "dtype": (entry(dtype="F33"), r"dtype: found 'F33'; expected one of BF16"),
    "dtype type": (entry(dtype=["F32"]), r"dtype: found"),
    "bool shape": (entry(shape=[True, 2]), r"shape: found"),
    "negative shape": (entry(shape=[-2]), r"shape: found"),
    "float shape": (entry(shape=[2.0]), r"shape: found"),
    "mismatch": (entry(shape=[3]), r"8 bytes of data for shape \[3\] in F32; expected 12 bytes"),
    "overflow": (entry(shape=[2**62, 4]), r"2\^63 elements or more"),
    "one more": (entry(shape=[2**62, 2]), r"2\^63 elements or more"),
    "one less": (entry(shape=[2**63 - 1]), r"8 bytes of data for shape \[9223372036854775807\] in F32"),
    "nothing of much": (entry(shape=[2**62, 0]), r"8 bytes of data for shape .*; expected 0 bytes"),
    "six bits": (entry(dtype="F6_E2M3", shape=[10]), r"expected 7\.5 bytes"),
    "three offsets": (entry(data_offsets=[0, 8, 9]), r"\[begin, end\]"),
    "negative offset": (entry(data_offsets=[-8, 0]), r"\[begin, end\]"),
    "an offset too large": (entry(data_offsets=[0, 2**63]), r"\[begin, end\]"),
    "hostile product": (entry(shape=[2**62] * 50_000), r"2\^63 elements or more"),
    "reversed": (entry(data_offsets=[8, 0]), r"\[begin, end\]"),
    "gap": (entry(data_offsets=[4, 12]), r"follows a gap of 4 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_header_says_what_is_broken(case: str) -> None:
    raw, pattern = BROKEN[case]
    with pytest.raises(CheckpointError) as caught:
        parsed(raw)
    assert caught.match("x.safetensors")
    assert __import__("re").search(pattern, str(caught.value)), str(caught.value)


def test_overlapping_tensors_are_refused() -> None:
    both = {"a": TWO["a"], "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
    with pytest.raises(CheckpointError, match="overlaps the tensor before it"):
        parsed(framed(json.dumps(both).encode(), bytes(12)))


def test_all_defects_of_a_header_come_at_once() -> None:
    bad = {"a": {**TWO["a"], "dtype": "X"}, "b": {**TWO["a"], "shape": [9]}, "c": 1}
    with pytest.raises(CheckpointError) as caught:
        parsed(framed(json.dumps(bad).encode(), bytes(8)))
    assert len(caught.value.defects) == 3


def test_names_of_tensors_reach_the_terminal_escaped() -> None:
    evil = "\x1b[31m\n::error::\u202e"
    with pytest.raises(CheckpointError) as caught:
        parsed(framed(json.dumps({evil: 1, "\ud800": 2}).encode()))
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert not any(line.startswith("::error") for line in str(caught.value).splitlines())


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    names = draw(st.lists(st.text(max_size=8).filter(lambda name: name != "__metadata__"), max_size=5, unique=True))
    made = {}
    for name in names:
        dtype = draw(st.sampled_from(["F64", "F32", "F16", "U8", "I64"]))
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        size = int(np.prod(shape)) * WIDTHS[dtype]
        made[name] = (dtype, shape, draw(st.binary(min_size=size, max_size=size)))
    return made


@given(tensors(), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_what_safetensors_accepts_is_read_alike(made: dict, pad: int) -> None:
    raw = encode(made, {"format": "pt"}, pad=pad)
    assert ours(raw) == upstream(raw)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_corrupted_file_is_refused_or_read_as_safetensors_reads_it(data: st.DataObject) -> None:
    raw = bytearray(encode({"a": ("F32", (2, 3), bytes(range(24))), "b": ("F16", (4,), bytes(8))}, {"k": "v"}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["set", "insert", "delete", "cut"]))
        if kind == "set":
            raw[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        elif kind == "delete" and len(raw) > 1:
            del raw[at]
        elif at > 0:
            del raw[at:]
    try:
        found = ours(bytes(raw))
    except CheckpointError:
        return
    assert found == upstream(bytes(raw))


def test_the_library_s_own_files_are_accepted() -> None:
    arrays = {name: np.frombuffer(raw, np.float32).reshape(shape) for name, (_, shape, raw) in weights().items()}
    raw = save(arrays, {"format": "pt"})
    assert ours(raw) == upstream(raw)


def test_a_file_that_goes_before_it_is_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: found it cannot be read \(No such file"):
        read_header(tmp_path / "gone.safetensors")


def test_a_file_that_ends_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short by somebody else between the look at its size and the reading."""
    path = tmp_path / "cut.safetensors"
    path.write_bytes(save({"a": np.zeros(4, np.float32)}))

    class Cut(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            return super().seek(offset, whence) + (1000 if whence == 2 else 0)

        def read(self, size: int | None = -1) -> bytes:
            return super().read(size)[: 8 if size == 8 else 5]

    raw = path.read_bytes()
    monkeypatch.setattr(Path, "open", lambda *_, **__: Cut(raw))
    with pytest.raises(CheckpointError, match="a file that ended after 13 bytes"):
        read_header(path)


def test_no_shape_within_the_bound_overflows() -> None:
    assert _overflows([]) is False
    assert _overflows([MOST_ELEMENTS]) is False
    assert _overflows([MOST_ELEMENTS, 2]) is True
