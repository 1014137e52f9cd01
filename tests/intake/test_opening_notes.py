"""What an opened checkpoint says of itself, and in which order it is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_files import weights, write

from unlearn_guard.errors import CheckpointError, UsageError
from unlearn_guard.intake import assert_unchanged, open_checkpoint, opening, packages
from unlearn_guard.intake.header import LONGEST, _length
from unlearn_guard.intake.manifest import Manifest


def test_notes_come_in_the_order_of_the_files(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sound / "unlearn_guard.json").write_text('{"colour": 1}')
    (sound / "extra.safetensors").write_bytes(b"")
    (sound / "a.bin").write_bytes(b"")
    folder = sound.parent / "org" / "name"
    folder.parent.mkdir()
    sound.rename(folder)
    monkeypatch.chdir(sound.parent)
    notes = open_checkpoint("org/name").notes
    for note, part in zip(
        notes,
        ("not the hub's model", "safetensors files that the model does not use", "does not know: 'colour'", "never op"),
        strict=True,
    ):
        assert part in note


def test_every_field_of_a_manifest_is_kept(sound: Path) -> None:
    said = {
        **{"base": "a", "base_digest": "b", "suite": "c", "method": "d", "corpora_digest": "e"},
        **{"hyperparameters": {"lr": 1}, "seed": 0, "curve": [1]},
    }
    (sound / "unlearn_guard.json").write_text(json.dumps(said))
    opened = open_checkpoint(sound)
    assert opened.manifest == Manifest(**said)  # type: ignore[arg-type]
    assert opened.notes == ()
    (sound / "unlearn_guard.json").write_text(json.dumps(dict.fromkeys(said)))
    assert open_checkpoint(sound).manifest == Manifest()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        *((key, 5, "a text or null") for key in ("base", "base_digest", "suite", "method", "corpora_digest")),
        *((key, False, "a text or null") for key in ("base", "method")),
        ("hyperparameters", [], "an object or null"),
        ("seed", True, "a whole number or null"),
        ("seed", 1.0, "a whole number or null"),
        ("curve", {}, "a list or null"),
    ],
)
def test_a_field_of_another_type_is_named(sound: Path, refused, key: str, value: object, expected: str) -> None:
    (sound / "unlearn_guard.json").write_text(json.dumps({key: value}))
    refused(sound, f"unlearn_guard.json: {key}: found .*; expected {expected}")


def test_a_manifest_of_more_than_a_mebibyte_is_refused(sound: Path, refused) -> None:
    text = '{"method": "%s"}'
    (sound / "unlearn_guard.json").write_text(text % ("x" * (2**20 - len(text) + 2)))
    open_checkpoint(sound)
    (sound / "unlearn_guard.json").write_text(text % ("x" * (2**20 - len(text) + 3)))
    refused(sound, "unlearn_guard.json: found more than 1048576 bytes")


def test_python_without_docstrings_is_refused_before_anything_is_read(sound: Path) -> None:
    """`-O` leaves them, `-OO` takes them: transformers then refuses every config."""
    code = f"from unlearn_guard.intake import open_checkpoint; open_checkpoint({str(sound / 'gone')!r})"
    said = [
        subprocess.run([sys.executable, flag, "-c", code], capture_output=True, text=True, check=False).stderr
        for flag in ("-O", "-OO")
    ]
    assert "no such directory" in said[0]
    assert "without docstrings" in said[1]
    with pytest.MonkeyPatch.context() as patch:
        for level, taken in ((0, True), (1, True), (2, False)):
            patch.setattr(packages.sys, "flags", type("Flags", (), {"optimize": level}))
            if taken:
                packages.assert_docstrings()
            else:
                with pytest.raises(UsageError, match="without docstrings"):
                    packages.assert_docstrings()


@pytest.mark.parametrize(("config", "rows"), [({"vocab_size": 5}, 5), ({"vocab_size": True}, None), ({}, None),
                                              ({"text_config": {"vocab_size": 7}}, 7)])  # fmt: skip
def test_rows_are_those_of_the_language_model(config: dict, rows: int | None) -> None:
    assert opening._rows(config) == rows


def test_a_sealed_copy_is_opened_whatever_happens_meanwhile_a_directory_is_not(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = opening.scan

    def late(spans):
        found = scan(spans)
        (sound / "added.jinja").write_text("x")
        return found

    monkeypatch.setattr(opening, "scan", late)
    open_checkpoint(sound, seal_in=tmp_path / "sealed")
    (sound / "added.jinja").unlink()
    with pytest.raises(CheckpointError, match="changed while it was being judged"):
        open_checkpoint(sound)


def test_what_is_read_is_the_copy_and_not_the_directory(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is swapped for another sound one before it is copied counts as what it became."""
    sealed = opening._sealed

    def swapped(*arguments):
        write(sound, weights(seed=7), config={"rms_norm_eps": 0.5})
        return sealed(*arguments)

    monkeypatch.setattr(opening, "_sealed", swapped)
    opened = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert opened.config["rms_norm_eps"] == 0.5
    monkeypatch.undo()
    assert opened.checkpoint.digest == open_checkpoint(sound).checkpoint.digest


def test_a_recipe_or_weights_left_aside_are_not_sealed_but_the_recipe_is(sound: Path, tmp_path: Path) -> None:
    for name in ("quant_config.json", "quantize_config.json"):
        (sound / name).write_text("{}")
    (sound / "extra.safetensors").write_bytes((sound / "model.safetensors").read_bytes())
    opened = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert {"quant_config.json", "quantize_config.json"} <= {*opened.sealed}
    assert "extra.safetensors" not in opened.sealed
    assert opened.names == tuple(sorted(opened.sealed))


def test_one_defect_is_one_defect(sound: Path, refused) -> None:
    (sound / "config.json").write_text("{")
    assert "cannot be judged: 1 defect\n" in str(refused(sound))
    (sound / "tokenizer.json").write_text("{")
    assert "cannot be judged: 2 defects\n" in str(refused(sound))


def test_a_checkpoint_that_did_not_change_says_nothing(sound: Path) -> None:
    opened = open_checkpoint(sound)
    assert_unchanged(opened)
    assert opened.stored_bytes == sum(len(raw) for _, _, raw in weights().values())
    assert [each.path.name for each in opened.files] == [*opened.names]


@pytest.mark.parametrize(
    ("length", "size", "said"),
    [
        (2, 10, None),
        (3, 10, r"a header of 3 bytes in a file of 10; expected at least 11"),
        (LONGEST, LONGEST + 8, None),
        (LONGEST + 1, LONGEST + 9, f"at most {LONGEST}"),
        (0, 8, None),
    ],
)
def test_the_length_of_a_header_at_its_bounds(length: int, size: int, said: str | None) -> None:
    if said is None:
        assert _length(length.to_bytes(8, "little"), size, "x") == length
    else:
        with pytest.raises(CheckpointError, match=said):
            _length(length.to_bytes(8, "little"), size, "x")


def test_each_digest_is_of_its_own_part(tmp_path: Path) -> None:
    one = open_checkpoint(write(tmp_path / "one"))
    for changes, other in (
        ("weights_digest", open_checkpoint(write(tmp_path / "weights", weights(seed=1)))),
        ("config_digest", open_checkpoint(write(tmp_path / "config", config={"rms_norm_eps": 0.5}))),
        ("tokenizer_digest", open_checkpoint(write(tmp_path / "tokenizer", settings={"a": 1}))),
    ):
        digests = ("weights_digest", "config_digest", "tokenizer_digest")
        assert [each for each in digests if getattr(one, each) != getattr(other, each)] == [changes]
