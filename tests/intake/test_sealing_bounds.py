"""The sealed copy at its bounds: sizes, names, room, what stands in its place, what cannot be read or written."""

import errno
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import NoReturn

import pytest
from checkpoint_files import weights, write

from unlearn_guard.errors import CheckpointError, StorageError
from unlearn_guard.intake import file_digests, open_checkpoint, sealing, write_release
from unlearn_guard.intake.folder import Folder, read_folder
from unlearn_guard.intake.location import find


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_beside_the_weights_may_be_as_large_as_allowed(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = max((sound / name).stat().st_size for name in ("config.json", "tokenizer.json", "tokenizer_config.json"))
    monkeypatch.setattr(sealing, "LARGEST", largest)
    assert (sound / "model.safetensors").stat().st_size > largest
    open_checkpoint(sound, seal_in=tmp_path / "sealed")
    monkeypatch.setattr(sealing, "LARGEST", largest - 1)
    with pytest.raises(
        CheckpointError, match=f"'tokenizer.json': found {largest} bytes; expected at most {largest - 1}"
    ):
        open_checkpoint(sound, seal_in=tmp_path / "again")


def test_room_for_every_byte_is_enough(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(path.stat().st_size for path in sound.iterdir())
    for free, root in ((size, "enough"), (size - 1, "little")):
        usage = shutil.disk_usage(tmp_path)._replace(free=free)
        monkeypatch.setattr(sealing.shutil, "disk_usage", lambda _, usage=usage: usage)
        if free == size:
            open_checkpoint(sound, seal_in=tmp_path / root)
        else:
            with pytest.raises(StorageError, match=r"has 0\.0 GB free; .* needs 0\.0 GB"):
                open_checkpoint(sound, seal_in=tmp_path / root)


def test_a_copy_is_private_and_its_files_are_read_only(sound: Path, tmp_path: Path) -> None:
    path = open_checkpoint(sound, seal_in=tmp_path / "sealed").checkpoint.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()} == {0o444}
    assert (
        path.name
        == hashlib.sha256(json.dumps(file_digests(path), sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    )


def test_templates_in_their_folder_are_copied_into_one(sound: Path, tmp_path: Path) -> None:
    (sound / "additional_chat_templates").mkdir()
    for name in ("a", "b"):
        (sound / "additional_chat_templates" / f"{name}.jinja").write_text(name)
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    path = intake.checkpoint.path / "additional_chat_templates" / "a.jinja"
    assert path.read_text() == "a"
    assert intake.sealed["additional_chat_templates/a.jinja"] == hashlib.sha256(b"a").hexdigest()
    write_release(intake.checkpoint.path, intake.sealed, tmp_path / "out")
    assert file_digests(tmp_path / "out") == intake.sealed


def test_a_copy_that_is_there_is_read_and_not_written_again(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    monkeypatch.setattr(sealing, "_clone_or_copy", full)
    assert open_checkpoint(sound, seal_in=tmp_path / "sealed").sealed == first.sealed
    other = write(tmp_path / "other", weights(seed=1))  # the same names and sizes, other bytes
    with pytest.raises(OSError, match="No space left"):
        open_checkpoint(other, seal_in=tmp_path / "sealed")


def test_bytes_are_alike_however_they_are_copied(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where blocks are shared, what was shared is read; in the other case it is copied in pieces."""
    import fcntl

    def share(target: int, _: int, source: int) -> None:
        os.write(target, os.read(source, 2**20))
        os.lseek(target, 0, os.SEEK_SET)

    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sound.iterdir()}
    monkeypatch.setattr(sealing, "CHUNK", 1000)
    for name, how in (("shared", share), ("copied", full)):
        monkeypatch.setattr(fcntl, "ioctl", how)
        sealed = open_checkpoint(sound, seal_in=tmp_path / name)
        assert sealed.sealed == file_digests(sealed.checkpoint.path) == expected


def test_a_full_disk_while_copying_publishing_or_releasing_is_said(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", full)
        with pytest.raises(StorageError, match=r"cannot be written: No space left on device"):
            open_checkpoint(sound, seal_in=tmp_path / "copying")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match=r"cannot be written: No space left"):
            open_checkpoint(sound, seal_in=tmp_path / "publishing")
        with pytest.raises(StorageError, match=r"out cannot be written: No space left"):
            write_release(intake.checkpoint.path, intake.sealed, tmp_path / "out")
    assert [*(tmp_path / "publishing").iterdir()] == []
    assert not (tmp_path / "out").exists()


def test_another_process_may_be_first_to_publish(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = open_checkpoint(sound, seal_in=tmp_path / "there").checkpoint.path

    def late(_: Path, target: Path) -> NoReturn:
        shutil.copytree(there, target)
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", late)
        found = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert file_digests(found.checkpoint.path) == found.sealed


def test_a_release_goes_into_an_empty_folder_and_into_no_other(sound: Path, tmp_path: Path) -> None:
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    (tmp_path / "out").mkdir()
    write_release(intake.checkpoint.path, intake.sealed, tmp_path / "out")
    assert file_digests(tmp_path / "out") == intake.sealed
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    with pytest.raises(StorageError, match="full cannot be written"):
        write_release(intake.checkpoint.path, intake.sealed, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


@pytest.mark.parametrize("lay", [os.mkfifo, lambda path: path.symlink_to("config.json")])
def test_links_and_pipes_in_a_copy_count_against_it(sound: Path, tmp_path: Path, lay) -> None:
    root = tmp_path / "sealed"
    path = open_checkpoint(sound, seal_in=root).checkpoint.path
    lay(path / "laid")
    assert len(file_digests(path)["laid"]) < 64
    assert "laid" not in file_digests(open_checkpoint(sound, seal_in=root).checkpoint.path)


def seal_of(directory: Path, root: Path, files: dict[str, Path]) -> None:
    """Seal these files of a directory, whatever it holds by now."""
    place = find(directory)
    with sealing.sealing(place, root) as seal:
        seal.take(Folder(directory=place.directory, files=files, unopened=(), aside=()), sorted(files))


def test_what_becomes_a_folder_a_pipe_or_nothing_after_the_look_is_named_each(sound: Path, tmp_path: Path) -> None:
    files = dict(read_folder(find(sound)).files)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (sound / name).unlink()
    (sound / "config.json").mkdir()
    os.mkfifo(sound / "tokenizer.json")  # opening one to read would wait for ever
    (sound / "tokenizer_config.json").symlink_to(sound / "tokenizer_config.json")
    elsewhere = tmp_path / "x"
    elsewhere.write_text("{}")
    sizes = dict.fromkeys(files, elsewhere)
    with pytest.raises(CheckpointError) as caught:
        seal_of(sound, tmp_path / "sealed", sizes)
    assert [(each.where, each.found.partition(" (")[0]) for each in caught.value.defects] == [
        ("'config.json'", "a directory, pipe or device"),
        ("'tokenizer.json'", "a directory, pipe or device"),
        ("'tokenizer_config.json'", "it cannot be read"),
    ]
    held = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}  # noqa: PTH115
    assert not any(str(sound) in each for each in held)


def test_a_directory_that_goes_before_it_is_opened_is_refused(sound: Path, tmp_path: Path) -> None:
    files, place = dict(read_folder(find(sound)).files), find(sound)
    sound.rename(tmp_path / "moved")
    folder = Folder(directory=sound, files={name: tmp_path / "moved" / name for name in files}, unopened=(), aside=())
    with (
        pytest.raises(CheckpointError, match=r"directory: found it cannot be opened \(No such file"),
        sealing.sealing(place, tmp_path / "sealed") as seal,
    ):
        seal.take(folder, sorted(files))
