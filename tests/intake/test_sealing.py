"""The sealed copy: it holds the known files alone, and what happens to the directory afterwards changes nothing."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from checkpoint_files import shard, weights, write

from unlearn_guard.errors import CheckpointError, StorageError
from unlearn_guard.intake import file_digests, open_checkpoint, sealing, with_parameters, write_release


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_holds_what_was_hashed_and_nothing_else(sound: Path, tmp_path: Path) -> None:
    (sound / "pytorch_model.bin").write_bytes(b"\0")
    (sound / "consolidated.safetensors").write_bytes((sound / "model.safetensors").read_bytes())
    (sound / "original").mkdir()
    (sound / "original" / "weights.dat").write_bytes(b"\0\1")
    (sound / "README.md").write_text("a card")
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(file_digests(intake.checkpoint.path)) == names
    assert intake.sealed == {name: sha256(sound / name) for name in names}
    assert intake.checkpoint.path.parent == tmp_path / "sealed"
    assert all(tensor.file.is_relative_to(intake.checkpoint.path) for tensor in intake.tensors)
    assert intake.named.path == sound
    assert dict(intake.named.files) == intake.sealed
    notes = " ".join(intake.notes)
    for name in ("pytorch_model.bin", "consolidated.safetensors", "original/weights.dat"):
        assert repr(name) in notes
    assert "README.md" not in notes


def test_the_digest_is_that_of_the_directory(sound: Path, tmp_path: Path) -> None:
    plain, sealed = open_checkpoint(sound), open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert plain.checkpoint.digest == sealed.checkpoint.digest
    assert plain.sealed == {}


@pytest.mark.parametrize("what", ["rewrite", "swap", "remove"])
def test_what_happens_to_the_directory_afterwards_changes_nothing(sound: Path, tmp_path: Path, what: str) -> None:
    intake = with_parameters(open_checkpoint(sound, seal_in=tmp_path / "sealed"))
    before = file_digests(intake.checkpoint.path)
    if what == "rewrite":
        with (sound / "model.safetensors").open("r+b") as stream:
            stream.seek(-4, os.SEEK_END)
            stream.write(b"\0\0\0\0")
    elif what == "swap":
        write(tmp_path / "other", weights(seed=9))
        sound.rename(tmp_path / "old")
        (tmp_path / "other").rename(sound)
    else:
        shutil.rmtree(sound)
    assert file_digests(intake.checkpoint.path) == before


def test_one_copy_serves_twice_and_a_damaged_one_is_made_anew(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    first = open_checkpoint(sound, seal_in=root)
    inode = first.checkpoint.path.stat().st_ino
    assert open_checkpoint(sound, seal_in=root).checkpoint.path.stat().st_ino == inode
    damaged = first.checkpoint.path / "model.safetensors"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    again = open_checkpoint(sound, seal_in=root)
    assert file_digests(again.checkpoint.path) == again.sealed
    assert [path.name for path in root.iterdir()] == [again.checkpoint.path.name]


def test_a_file_laid_into_a_sealed_copy_is_thrown_out(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    path = open_checkpoint(sound, seal_in=root).checkpoint.path
    (path / "adapter_config.json").write_text("{}")
    assert "adapter_config.json" not in file_digests(open_checkpoint(sound, seal_in=root).checkpoint.path)


def test_a_broken_checkpoint_is_refused_before_it_is_copied(sound: Path, tmp_path: Path) -> None:
    (sound / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert not (tmp_path / "sealed").exists()


def test_a_full_disk_is_seen_before_copying(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(sealing.shutil, "disk_usage", lambda _: free)
    with pytest.raises(StorageError, match="GB free; the sealed copy"):
        open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert list((tmp_path / "sealed").iterdir()) == []


def test_shards_that_the_index_names_are_copied_and_no_others(sound: Path, tmp_path: Path) -> None:
    shard(sound, weights())
    (sound / "zzz.safetensors").write_bytes((sound / next(sound.glob("model-*")).name).read_bytes())
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert "zzz.safetensors" not in intake.sealed
    assert "model.safetensors.index.json" in intake.sealed
    assert "'zzz.safetensors'" in " ".join(intake.notes)


def test_a_link_that_leaves_the_directory_is_not_followed(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text((sound / "tokenizer.json").read_text())
    (sound / "tokenizer.json").unlink()
    (sound / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(CheckpointError, match=r"a link to .*elsewhere\.json"):
        open_checkpoint(sound, seal_in=tmp_path / "sealed")


def test_a_link_swapped_in_after_the_look_is_not_followed(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor says where the file lies, whatever its name led to a moment before."""
    (tmp_path / "elsewhere.json").write_text((sound / "tokenizer.json").read_text())
    real = sealing.Seal._assert_room

    def swap(self: sealing.Seal, *arguments: object) -> None:
        real(self, *arguments)
        (sound / "tokenizer.json").unlink()
        (sound / "tokenizer.json").symlink_to(tmp_path / "elsewhere.json")

    monkeypatch.setattr(sealing.Seal, "_assert_room", swap)
    with pytest.raises(CheckpointError, match=r"a link to .*elsewhere\.json"):
        open_checkpoint(sound, seal_in=tmp_path / "sealed")
    assert list((tmp_path / "sealed").iterdir()) == []


def test_a_file_that_changes_while_it_is_copied_is_refused(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sealing._clone_or_copy

    def slow(source: int, target: Path) -> str:
        digest = real(source, target)
        if target.name == "model.safetensors":
            with (sound / "model.safetensors").open("ab") as stream:
                stream.write(b"more")
        return digest

    monkeypatch.setattr(sealing, "_clone_or_copy", slow)
    with pytest.raises(CheckpointError, match="changed while it was being copied"):
        open_checkpoint(sound, seal_in=tmp_path / "sealed")


def test_a_release_is_the_sealed_files(sound: Path, tmp_path: Path) -> None:
    (sound / "pytorch_model.bin").write_bytes(b"\0")
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    write_release(intake.checkpoint.path, intake.sealed, tmp_path / "out")
    assert file_digests(tmp_path / "out") == intake.sealed
    assert open_checkpoint(tmp_path / "out").checkpoint.digest == intake.checkpoint.digest
    with pytest.raises(StorageError):
        write_release(intake.checkpoint.path, intake.sealed, tmp_path / "out")


def test_a_release_of_other_bytes_is_not_written(sound: Path, tmp_path: Path) -> None:
    intake = open_checkpoint(sound, seal_in=tmp_path / "sealed")
    damaged = intake.checkpoint.path / "model.safetensors"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    with pytest.raises(StorageError, match="not what was judged"):
        write_release(intake.checkpoint.path, intake.sealed, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sealed", "sound"]
