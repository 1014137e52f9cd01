"""A tokenizer's files one by one: SentencePiece models byte by byte, empty ones, ids at their bounds."""

import json
from pathlib import Path

import pytest
from checkpoint_files import TOKENIZER, VOCABULARY, write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake.tokenizer import _check_protobuf


def walked(raw: bytes) -> str:
    """What is wrong with these fields, if anything is."""
    try:
        _check_protobuf(raw, "x.model")
    except CheckpointError as error:
        return error.defects[0].found
    return ""


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\x0a\x80\x01" + b"\x07" * 128, ""),  # a length of two bytes: 0 + 1 * 2^7; a tag of 7 is none
        (b"\x0a\x80\x01" + b"\x07" * 127, "a file cut short at 130 bytes"),
        (b"\x0a\x80\x80\x01" + b"\x07" * 2**14, ""),
        (b"\x0a\x80\x80\x01" + b"\x07" * (2**14 - 1), f"a file cut short at {2**14 + 3} bytes"),
        (b"\x0a\x81\x01" + b"\x07" * 129, ""),
        (b"\x82\x01\x01a", ""),  # field 16: a tag of two bytes
        (b"\x08\xff\xff\x03", ""),
        (b"\x09" + bytes(8), ""),
        (b"\x09" + b"\x07" * 8, ""),
        (b"\x09" + bytes(7), "a file cut short at 8 bytes"),
        (b"\x09" + bytes(8) + b"\x08\x01", ""),
        (b"\x0d" + bytes(4), ""),
        (b"\x0d" + bytes(3), "a file cut short at 4 bytes"),
        (b"\x0d" + bytes(4) + b"\x0a\x01a", ""),
        (b"\x08\x01\x0b", "no protobuf field at byte 3"),
        (b"\x0c", "no protobuf field at byte 1"),
        (b"\x08" + b"\xff" * 9 + b"\x01", ""),  # ten bytes are the longest number
        (b"\x08" + b"\xff" * 10 + b"\x01", "no protobuf field at byte 11"),
        (b"\x08" + b"\xff" * 9, "a file cut short at 10 bytes"),
        (b"\x08", "a file cut short at 1 bytes"),
        (b"", "a file cut short at 0 bytes"),
    ],
)
def test_every_field_is_walked_to_its_last_byte(raw: bytes, said: str) -> None:
    assert walked(raw) == said


@pytest.mark.parametrize("name", ["merges.txt", "vocab.txt"])
def test_an_empty_vocabulary_is_refused(sound: Path, refused, name: str) -> None:
    (sound / name).write_bytes(b"")
    refused(sound, f"{name}: found an empty file; expected a vocabulary", "Copy the file again")
    (sound / name).write_bytes(b"a")
    open_checkpoint(sound)


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        (("vocab.json", "merges.txt"), True), (("vocab.txt",), True), (("spiece.model",), True),
        (("tekken.json",), True), (("vocab.json",), False), (("merges.txt",), False), (("added_tokens.json",), False),
    ],
)  # fmt: skip
def test_which_files_are_a_tokenizer(sound: Path, refused, present: tuple[str, ...], taken: bool) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (sound / name).unlink()
    for name in present:
        (sound / name).write_bytes(b"\x08\x01" if name.endswith(".model") else b"{}")
    if taken:
        assert [name for name, _ in open_checkpoint(sound).tokenizer.sources] == sorted(present)
        assert open_checkpoint(sound).tokenizer.size is None
    else:
        refused(sound, "tokenizer: found none")


def test_the_largest_id_is_counted_wherever_it_stands(tmp_path: Path, refused) -> None:
    words = {**TOKENIZER["model"]["vocab"], "w1": 40}  # type: ignore[dict-item]
    refused(write(tmp_path / "a", tokenizer={"model": {**TOKENIZER["model"], "vocab": words}}), "ids up to 40")  # type: ignore[dict-item]
    opened = open_checkpoint(write(tmp_path / "b", config={"vocab_size": 41}, tokenizer={"model": {"vocab": words}}))
    assert opened.tokenizer.size == 41
    listed = {"type": "Unigram", "vocab": [["a", -1.0]] * VOCABULARY}
    assert open_checkpoint(write(tmp_path / "c", tokenizer={"model": listed})).tokenizer.size == VOCABULARY
    listed["vocab"] = [["a", -1.0]] * (VOCABULARY + 1)
    refused(write(tmp_path / "d", tokenizer={"model": listed}), "ids up to 32; expected ids below 32")


@pytest.mark.parametrize("token", [{"special": 1}, {"special": None}, {}])
def test_only_what_is_truly_special_may_lie_past_the_rows(tmp_path: Path, refused, token: dict) -> None:
    added = {"added_tokens": [{"id": VOCABULARY, "content": "<x>", **token}]}
    refused(write(tmp_path / "x", tokenizer=added), "found ids up to 32")


@pytest.mark.parametrize("key", ["version", "truncation", "padding"])
def test_how_texts_are_batched_is_no_meaning(tmp_path: Path, key: str) -> None:
    one, other = (open_checkpoint(write(tmp_path / str(at), tokenizer={key: at})) for at in (1, 2))
    assert one.tokenizer.vocabulary == other.tokenizer.vocabulary
    assert one.tokenizer.digest != other.tokenizer.digest
    third = open_checkpoint(write(tmp_path / "3", tokenizer={"normalizer": {"type": "Lowercase"}}))
    assert third.tokenizer.vocabulary != one.tokenizer.vocabulary


def test_settings_are_no_sources_and_sources_no_settings(sound: Path) -> None:
    (sound / "special_tokens_map.json").write_text(json.dumps({"unk_token": "<unk>"}))
    (sound / "chat_template.jinja").write_text("{{ messages }}")
    found = open_checkpoint(sound).tokenizer
    assert [name for name, _ in found.sources] == ["tokenizer.json"]
    assert {*found.documents} == {"tokenizer_config.json", "special_tokens_map.json"}
    assert found.templates == {"chat_template.jinja": "{{ messages }}"}


@pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json", "chat_template.json"])
def test_code_is_refused_in_every_settings_file(sound: Path, refused, name: str) -> None:
    (sound / name).write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}')
    refused(sound, f"{name}: auto_map")


def test_every_template_of_a_checkpoint_is_looked_at(sound: Path, refused) -> None:
    (sound / "additional_chat_templates").mkdir()
    for name in ("chat_template.jinja", "additional_chat_templates/x.jinja"):
        (sound / name).write_text("{{ a._b }}")
    (sound / "tokenizer_config.json").write_text(json.dumps({"chat_template": {"y": "{{ 'a' * n }}"}}))
    assert len(refused(sound, "x.jinja", "^|chat_template.jinja", "chat_template: y: found a text").defects) == 3
