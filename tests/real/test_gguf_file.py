"""A GGUF header is not believed: what is cut short or absurd is refused before anything is allocated."""

import struct
import time
from pathlib import Path

import pytest
from tiny_gguf import tiny, write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.real.dequantizing import dequantize
from unlearn_guard.real.gguf_file import read_gguf


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def head(tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


ENTRY = text("token_embd.weight")
SOUND = struct.pack("<IQQIQ", 2, 32, 4, 0, 0)
HOSTILE = {
    "magic": b"GGML" + bytes(40),
    "version": head(version=1) + bytes(40),
    "big-endian": head(version=3 << 24) + bytes(40),
    "tensors": head(tensors=2**60) + bytes(40),
    "keys": head(keys=2**60) + bytes(40),
    "key's length": head(keys=1) + struct.pack("<Q", 2**40) + bytes(40),
    "text's length": head(keys=1) + text("a") + struct.pack("<IQ", 8, 2**50) + bytes(40),
    "array's count": head(keys=1) + text("a") + struct.pack("<IIQ", 9, 4, 2**50) + bytes(40),
    "array of texts": head(keys=1) + text("a") + struct.pack("<IIQ", 9, 8, 2**25) + bytes(40),
    "nested arrays": head(keys=1) + text("a") + struct.pack("<IIQ", 9, 9, 1) + bytes(40),
    "type": head(keys=1) + text("a") + struct.pack("<I", 77) + bytes(40),
    "not UTF-8": head(keys=1) + struct.pack("<Q", 2) + b"\xff\xfe" + bytes(40),
    "a key twice": head(keys=2) + 2 * (text("a") + struct.pack("<II", 4, 1)) + bytes(40),
    "alignment": head(keys=1) + text("general.alignment") + struct.pack("<II", 4, 0) + bytes(40),
    "dimensions": head(tensors=1) + ENTRY + struct.pack("<I", 2**31) + bytes(40),
    "no elements": head(tensors=1) + ENTRY + struct.pack("<IQQIQ", 2, 0, 4, 0, 0) + bytes(600),
    "shape": head(tensors=1) + ENTRY + struct.pack("<IQQIQ", 2, 2**62, 2**62, 0, 0) + bytes(600),
    "ggml's type": head(tensors=1) + ENTRY + struct.pack("<IQQIQ", 2, 32, 4, 999, 0) + bytes(600),
    "half a block": head(tensors=1) + ENTRY + struct.pack("<IQQIQ", 2, 33, 4, 8, 0) + bytes(600),
    "offset": head(tensors=1) + ENTRY + struct.pack("<IQQIQ", 2, 32, 4, 0, 2**63) + bytes(600),
    "a tensor twice": head(tensors=2) + 2 * (ENTRY + SOUND) + bytes(2000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(HOSTILE[name])
    began = time.monotonic()
    with pytest.raises(CheckpointError):
        dequantize(tmp_path / "m.gguf", tmp_path / "out", dtype="float32", tell=lambda _: None)
    assert time.monotonic() - began < 5
    assert not (tmp_path / "out").exists()


def test_a_sound_header_of_the_same_kind_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(head(tensors=1) + ENTRY + SOUND + bytes(600))
    assert read_gguf(tmp_path / "m.gguf").tensors["token_embd.weight"].shape == (4, 32)


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.gguf", "llama", tiny("llama")).read_bytes()
    for kept in (0, 3, 23, 24, 60, 300, 5_000, 9_000, len(whole) // 2, len(whole) - 40):
        (tmp_path / "m.gguf").write_bytes(whole[:kept])
        with pytest.raises(CheckpointError):
            read_gguf(tmp_path / "m.gguf")


def test_an_unknown_architecture_is_named_beside_the_known_ones(tmp_path: Path) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"))
    file.write_bytes(file.read_bytes().replace(b"llama", b"mamba"))
    with pytest.raises(CheckpointError) as refused:
        dequantize(file, tmp_path / "out", dtype="float32", tell=lambda _: None)
    assert "'mamba'" in str(refused.value)
    assert all(name in str(refused.value) for name in ("llama", "qwen2", "qwen3", "gemma3", "phi3", "Mistral"))


def test_one_part_of_several_is_not_a_model(tmp_path: Path) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"))
    raw = file.read_bytes()
    key = text("split.count") + struct.pack("<IH", 2, 3)
    (keys,) = struct.unpack_from("<Q", raw, 16)
    padded = key + text("x.pad") + struct.pack("<I", 8) + text("p" * ((-len(key) - 8 - 5 - 4 - 8) % 32))
    file.write_bytes(raw[:16] + struct.pack("<Q", keys + 2) + padded + raw[24:])
    with pytest.raises(CheckpointError, match="gguf-split"):
        dequantize(file, tmp_path / "out", dtype="float32", tell=lambda _: None)
