"""What lies beside a checkpoint's files: what is taken for a text, what is named and left out."""

from pathlib import Path

import pytest

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import folder as folder_module
from unlearn_guard.intake import is_small_text, may_run, open_checkpoint
from unlearn_guard.intake.folder import SMALL, read_folder
from unlearn_guard.intake.location import Place


def aside(directory: Path) -> tuple[str, ...]:
    return read_folder(Place(directory=directory, blobs=None)).aside


def test_a_text_is_small_where_it_has_as_many_bytes_as_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * SMALL)
    assert is_small_text(path)
    path.write_bytes(b"x" * (SMALL + 1))
    assert not is_small_text(path)
    for raw in (b"\xff", b"a\0"):
        path.write_bytes(raw)
        assert not is_small_text(path)
    path.write_bytes(b"")
    assert is_small_text(path)
    assert not is_small_text(tmp_path)
    assert not is_small_text(tmp_path / "gone")
    (tmp_path / "link").symlink_to(path)
    assert not is_small_text(tmp_path / "link")


@pytest.mark.parametrize(
    "name", ["a.bin", "A.PT", "x.npz", "run.py", "x.so", "go.sh", "m.GGUF", "a\n.onnx", "b.safetensors"]
)
def test_what_may_be_loaded_or_run(name: str) -> None:
    assert may_run(name)
    assert not may_run(f"{name}.txt")


def test_what_is_aside_is_named_wherever_it_lies(sound: Path) -> None:
    for name, raw in (("a/b/weights.dat", b"\0\xff"), ("z.bin2", b"\xff"), ("note.txt", b"words"), ("a/run.py", b"")):
        (sound / name).parent.mkdir(parents=True, exist_ok=True)
        (sound / name).write_bytes(raw)
    assert aside(sound) == ("a/b/weights.dat", "a/run.py", "z.bin2")
    (note,) = open_checkpoint(sound).notes
    assert "not to be released" in note
    assert "'a/b/weights.dat', 'a/run.py', 'z.bin2'" in note


def test_the_names_aside_are_bounded(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_MOST_ASIDE", 3)
    for at in range(5):
        (sound / f"x{4 - at}.gguf").write_bytes(b"")
    assert aside(sound) == ("x0.gguf", "x1.gguf", "x2.gguf")


@pytest.mark.parametrize(
    "name", ["additional_chat_templates/a.jinja", "b.jinja", "vocab.txt", "x.safetensors", "adapter_config.json"]
)
def test_files_that_count_are_none_of_those(sound: Path, name: str) -> None:
    (sound / name).parent.mkdir(exist_ok=True)
    (sound / name).write_bytes(b"")
    found = read_folder(Place(directory=sound, blobs=None))
    assert found.files[name] == sound / name
    assert found.aside == ()
    assert found.unopened == ()
    assert (name in found.tokenizer_files()) is name.endswith((".jinja", ".txt"))


def test_a_folder_of_templates_may_be_no_folder(sound: Path) -> None:
    (sound / "additional_chat_templates").write_text("words")
    assert "additional_chat_templates" not in read_folder(Place(directory=sound, blobs=None)).files


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone' cannot be listed \(No such file"):
        read_folder(Place(directory=tmp_path / "gone", blobs=None))


def test_links_into_the_blobs_count_and_those_past_them_do_not(sound: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (sound / "config.json").rename(blobs / "0")
    (sound / "config.json").symlink_to(blobs / "0")
    assert read_folder(Place(directory=sound, blobs=blobs)).files["config.json"] == sound / "config.json"
    (tmp_path / "blobs-evil").mkdir()
    (blobs / "0").rename(tmp_path / "blobs-evil" / "0")
    (sound / "config.json").unlink()
    (sound / "config.json").symlink_to(tmp_path / "blobs-evil" / "0")
    with pytest.raises(CheckpointError, match="a link to"):
        read_folder(Place(directory=sound, blobs=blobs))
