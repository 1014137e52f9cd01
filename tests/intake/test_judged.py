"""A directory holds the files that a run judged, byte for byte, and nothing else that could be loaded."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoint_files import weights, write

from unlearn_guard.errors import UsageError
from unlearn_guard.intake import assert_judged, open_checkpoint, other_bytes
from unlearn_guard.records import Checkpoint

RUN = Path("run")


def files(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def named(judged: Mapping[str, str], directory: Path) -> list[str]:
    return [each.where for each in other_bytes(judged, directory)]


@pytest.fixture
def judged(sound: Path) -> Checkpoint:
    return replace(open_checkpoint(sound).checkpoint, files=files(sound))


def test_the_judged_files_and_a_card_beside_them_pass(sound: Path, judged: Checkpoint) -> None:
    (sound / "README.md").write_text("a card")
    (sound / ".cache" / "huggingface").mkdir(parents=True)
    (sound / ".cache" / "huggingface" / "x.metadata").write_text("1")
    assert_judged(judged, sound, RUN)


@pytest.mark.parametrize("name", ["README.md", "licence.md"])
def test_weights_under_the_name_of_a_card_are_named(sound: Path, judged: Checkpoint, name: str) -> None:
    (sound / name).write_bytes((sound / "model.safetensors").read_bytes())
    assert named(judged.files, sound) == [name]


def test_what_is_absent_other_or_laid_beside_is_named_each(sound: Path, judged: Checkpoint) -> None:
    (sound / "config.json").unlink()
    (sound / "tokenizer.json").write_text("{}")
    (sound / "deep").mkdir()
    (sound / "deep" / "adapter.bin").write_bytes(b"\0")
    defects = {each.where: each for each in other_bytes(judged.files, sound)}
    assert list(defects) == ["config.json", "tokenizer.json", "deep/adapter.bin"]
    assert defects["config.json"].found == "no such file"
    assert defects["tokenizer.json"].found == hashlib.sha256(b"{}").hexdigest()[:16]
    assert defects["tokenizer.json"].expected == judged.files["tokenizer.json"][:16]
    with pytest.raises(UsageError, match="is not what run judged, and nothing else"):
        assert_judged(judged, sound, RUN)


def test_a_run_that_names_no_files_vouches_for_none(sound: Path, judged: Checkpoint) -> None:
    with pytest.raises(UsageError, match="does not say which files it judged"):
        assert_judged(replace(judged, files={}), sound, RUN)


def test_the_files_of_another_model_are_not_the_run_s_whatever_its_list_says(tmp_path: Path, judged) -> None:
    other = write(tmp_path / "other", weights(seed=1))
    with pytest.raises(UsageError, match="lists the files of another model"):
        assert_judged(replace(judged, files=files(other)), other, RUN)


def test_links_pipes_and_folders_that_cannot_be_read_are_refused(
    sound: Path, tmp_path: Path, judged: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        other_bytes(judged.files, sound / "config.json")
    (tmp_path / "outside").mkdir()
    (sound / "linked").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="linked is a linked folder"):
        other_bytes(judged.files, sound)
    (sound / "linked").unlink()
    os.mkfifo(sound / "pipe")
    with pytest.raises(UsageError, match="pipe is neither a file nor a folder"):
        other_bytes(judged.files, sound)
    (sound / "pipe").unlink()

    def unreadable(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", unreadable)  # as root one may read all
    with pytest.raises(PermissionError):
        other_bytes(judged.files, sound)
