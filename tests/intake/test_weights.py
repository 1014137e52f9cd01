"""Bit patterns that are no numbers, and values, against torch; digests that follow content alone."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import encode, shard, weights, write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake import weights as weights_module
from unlearn_guard.intake.dtypes import NON_FINITE, rounded, values
from unlearn_guard.intake.header import Span
from unlearn_guard.intake.weights import chunks, scan

TORCH = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
}


@pytest.mark.parametrize("dtype", TORCH)
def test_every_bit_pattern_is_counted_as_torch_sees_it(dtype: str) -> None:
    pattern = NON_FINITE[dtype]
    words = np.arange(256 if pattern.word == "<u1" else 65536).astype(pattern.word)
    seen = torch.frombuffer(bytearray(words.tobytes()), dtype=TORCH[dtype]).to(torch.float64).numpy()
    assert pattern.count(words) == (int(np.isnan(seen).sum()), int(np.isinf(seen).sum()))
    assert pattern.count(words[:0]) == (0, 0)
    if pattern.word == "<u1":
        alone = [pattern.count(words[at : at + 1]) for at in range(256)]
        assert alone == [*zip(np.isnan(seen).astype(int), np.isinf(seen).astype(int), strict=True)]
    decoded = values(dtype, words.tobytes())
    assert (decoded is None) is (dtype == "F8_E8M0")
    if decoded is not None:
        finite = np.isfinite(seen)
        np.testing.assert_array_equal(decoded[finite], seen[finite])


@pytest.mark.parametrize(("dtype", "kind"), [("F32", np.float32), ("F64", np.float64)])
def test_wide_floats_are_counted_as_numpy_sees_them(dtype: str, kind: type) -> None:
    array = np.array([0.0, -0.0, np.finfo(kind).max, np.finfo(kind).tiny / 4, np.nan, -np.nan, np.inf, -np.inf], kind)
    assert NON_FINITE[dtype].count(array.view(NON_FINITE[dtype].word)) == (2, 2)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(np.int8, "I8"), (np.uint16, "U16"), (np.int64, "I64"), (np.float64, "F64")]
)
def test_plain_numbers_are_numpy_s(kind: type, dtype: str) -> None:
    array = np.array([0, 1, 100], kind)
    np.testing.assert_array_equal(values(dtype, array.tobytes()), array)
    assert values("C64", bytes(8)) is None
    assert rounded("F8_E4M3", np.zeros(1)) is None


def test_what_is_too_large_for_a_format_rounds_to_infinity_without_a_word() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(rounded("F16", np.array([1e6, -1e6, 65504.0])), [np.inf, -np.inf, 65504.0])


@pytest.mark.parametrize(("dtype", "kind"), [("F64", np.float64), ("F32", np.float32), ("F16", np.float16)])
def test_rounding_to_numpy_s_floats_is_numpy_s(dtype: str, kind: type) -> None:
    exact = np.random.default_rng(0).standard_normal(100)
    np.testing.assert_array_equal(rounded(dtype, exact), exact.astype(kind).astype(np.float64))


def test_weights_that_go_before_they_are_read_are_named(sound: Path) -> None:
    tensor = open_checkpoint(sound).tensors[0]
    span = Span(name="t", dtype="F32", shape=tensor.shape, start=tensor.start, stop=tensor.stop)
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: found it cannot be read \(No such file"):
        scan([(tensor.file, span), (sound / "gone.safetensors", span)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: found an end after \d+ bytes"):
        scan([(tensor.file, replace(span, stop=2**20))])


def test_rounding_to_bf16_is_torch_s() -> None:
    exact = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    ties = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)
    both = np.concatenate([exact, ties])
    expected = torch.from_numpy(both).bfloat16().double().numpy()
    np.testing.assert_array_equal(rounded("BF16", both.astype(np.float64)), expected)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("F32", b"\0\0\xc0\x7f"), ("BF16", b"\x80\xff"), ("F8_E4M3", b"\x7f"), ("F16", b"\0\x7c")]
)
def test_a_single_nan_or_inf_is_named_with_its_count(tmp_path: Path, refused, dtype: str, bits: bytes) -> None:
    made = weights()
    _, shape, _ = made["model.norm.weight"]
    size = len(bits)
    made["model.norm.weight"] = (dtype, shape, bytes(size * 15) + bits)
    names = "0 NaN and 1 infinite" if bits in (b"\x80\xff", b"\0\x7c") else "1 NaN and 0 infinite"
    path = write(tmp_path / "nan", made)
    refused(path, rf"model.safetensors: tensor 'model.norm.weight': found {names} of 16 elements; expected finite")


def test_every_non_finite_tensor_is_listed(tmp_path: Path, refused) -> None:
    made = weights()
    for name in ("lm_head.weight", "model.norm.weight"):
        made[name] = (*made[name][:2], np.full(made[name][1], np.nan, np.float32).tobytes())
    error = refused(write(tmp_path / "nan", made), "lm_head.weight.*512 NaN", "model.norm.weight.*16 NaN")
    assert len(error.defects) == 2


def test_a_nan_in_the_last_chunk_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    monkeypatch.setattr(weights_module, "CHUNK", 64)
    monkeypatch.setattr(weights_module, "_local", weights_module.threading.local())
    made = weights()
    name = "model.embed_tokens.weight"
    made[name] = (*made[name][:2], made[name][2][:-4] + b"\0\0\x80\x7f")
    refused(write(tmp_path / "nan", made), f"{name}.*0 NaN and 1 infinite of 512")


def test_the_digest_follows_content_not_sharding_order_metadata_or_chunk(tmp_path: Path, monkeypatch) -> None:
    made = weights()
    digest = open_checkpoint(write(tmp_path / "one", made)).checkpoint.digest
    shard(write(tmp_path / "three", made), made, 3)
    assert open_checkpoint(tmp_path / "three").checkpoint.digest == digest
    backwards = dict(reversed(made.items()))
    (write(tmp_path / "back") / "model.safetensors").write_bytes(encode(backwards, {"made": "elsewhere"}, pad=5))
    assert open_checkpoint(tmp_path / "back").checkpoint.digest == digest
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    reordered = {"_name_or_path": "/home/me/x", **dict(reversed(config.items()))}
    (tmp_path / "back" / "config.json").write_text(json.dumps(reordered, indent=4))
    assert open_checkpoint(tmp_path / "back").checkpoint.digest == digest
    monkeypatch.setattr(weights_module, "CHUNK", 48)
    monkeypatch.setattr(weights_module, "_local", weights_module.threading.local())
    assert open_checkpoint(tmp_path / "one").checkpoint.digest == digest


def test_one_bit_of_anything_that_counts_changes_the_digest(tmp_path: Path) -> None:
    made = weights()
    seen = {open_checkpoint(write(tmp_path / "0", made)).checkpoint.digest}
    for number, name in enumerate(made):
        dtype, shape, raw = made[name]
        flipped = {**made, name: (dtype, shape, bytes([raw[0] ^ 1]) + raw[1:])}
        seen.add(open_checkpoint(write(tmp_path / f"t{number}", flipped)).checkpoint.digest)
    first, second = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"
    swapped = {**made, first: made[second], second: made[first]}
    seen.add(open_checkpoint(write(tmp_path / "swapped", swapped)).checkpoint.digest)
    name = "model.norm.weight"
    seen.add(
        open_checkpoint(write(tmp_path / "shape", {**made, name: ("F32", (4, 4), made[name][2])})).checkpoint.digest
    )
    seen.add(open_checkpoint(write(tmp_path / "dtype", {**made, name: ("I64", (8,), made[name][2])})).checkpoint.digest)
    seen.add(open_checkpoint(write(tmp_path / "config", config={"rope_theta": 10001.0})).checkpoint.digest)
    seen.add(open_checkpoint(write(tmp_path / "settings", settings={"add_bos_token": True})).checkpoint.digest)
    spaced = write(tmp_path / "space")
    (spaced / "tokenizer.json").write_text((spaced / "tokenizer.json").read_text() + " ")
    seen.add(open_checkpoint(spaced).checkpoint.digest)
    (write(tmp_path / "template") / "chat_template.jinja").write_text("{{ messages }}")
    seen.add(open_checkpoint(tmp_path / "template").checkpoint.digest)
    (write(tmp_path / "gen") / "generation_config.json").write_text('{"eos_token_id": 2}')
    seen.add(open_checkpoint(tmp_path / "gen").checkpoint.digest)
    assert len(seen) == 1 + len(made) + 8


def test_as_many_infinities_as_nans_do_not_cancel_out(tmp_path: Path, refused) -> None:
    made = weights()
    array = np.zeros(16, np.float32)
    array[:2] = np.nan, np.inf
    made["model.norm.weight"] = ("F32", (16,), array.tobytes())
    refused(write(tmp_path / "nan", made), "model.norm.weight.*1 NaN and 1 infinite of 16")


def test_bytes_that_come_in_pieces_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may give fewer than were asked for."""
    file, whole = tmp_path / "x", bytes(range(200))
    file.write_bytes(whole)
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda handle, views, at: read(handle, [views[0][:7]], at))
    with file.open("rb") as stream:
        assert b"".join(bytes(each) for each in chunks(stream.fileno(), file, 10, 190, 64)) == whole[10:190]
