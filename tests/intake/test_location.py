"""A directory, or a hub id in the local cache; what cannot be had is said with the way to get it."""

from pathlib import Path

import pytest
from checkpoint_files import write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake.location import UNWANTED, WANTED

COMMIT = "a" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache layout with one model in it, and no network."""
    from huggingface_hub import _snapshot_download, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    assert _snapshot_download.constants is constants
    repository = hub / "models--org--name"
    snapshot = write(repository / "snapshots" / COMMIT)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted(snapshot.iterdir())):
        file.rename(repository / "blobs" / str(number))
        file.symlink_to(Path("..") / ".." / "blobs" / str(number))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.mark.parametrize("location", ["org/name", "org/name@main", f"org/name@{COMMIT}"])
def test_a_hub_id_is_found_in_the_cache_through_links_to_its_blobs(cache: Path, location: str) -> None:
    intake = open_checkpoint(location)
    assert intake.checkpoint.path == cache.resolve()
    assert intake.location == location


def test_a_snapshot_given_as_a_directory_opens_too(cache: Path) -> None:
    assert open_checkpoint(cache).checkpoint.digest == open_checkpoint("org/name").checkpoint.digest


def test_links_to_elsewhere_are_refused_in_the_cache_as_well(cache: Path, tmp_path: Path, refused) -> None:
    (tmp_path / "secret").write_text("{}")
    (cache / "config.json").unlink()
    (cache / "config.json").symlink_to(tmp_path / "secret")
    refused("org/name", "'config.json': found a link to")


@pytest.mark.parametrize("location", ["org/absent", "org/name@v9"])
def test_a_hub_model_that_is_not_there_offline_says_how_to_get_it(cache: Path, refused, location: str) -> None:
    error = refused(location, f"no such hub model at hand: '{location}'", "not in the local hub cache")
    assert f"hf download {location.replace('@', ' --revision ')}" in str(error)


@pytest.mark.parametrize(
    "location", ["./nowhere", "/no/where", "nowhere", "a/b/c", "a..b/c", "a/../b", "org/name@", "x/y@../z"]
)
def test_a_path_that_is_no_hub_id_is_no_such_directory(refused, location: str) -> None:
    refused(location, "no such directory", "org/name@revision")


def test_a_path_object_is_never_a_hub_id(cache: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        open_checkpoint(Path("org/name"))


def test_a_file_is_not_a_checkpoint(sound: Path, refused) -> None:
    refused(sound / "model.safetensors", "is a file, not a checkpoint directory")


def test_only_data_is_fetched() -> None:
    from huggingface_hub.utils import filter_repo_objects

    files = [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "pytorch_model.bin",
        "modeling_x.py",
        "tokenizer.py",
        "training_args.bin",
        "original/consolidated.safetensors",
        "consolidated.safetensors",
        "optimizer.pt",
        "tokenizer.model",
        "additional_chat_templates/a.jinja",
    ]
    kept = list(filter_repo_objects(files, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)))
    assert kept == [*files[:4], "tokenizer.model", "additional_chat_templates/a.jinja"]


def test_a_directory_that_is_named_like_a_hub_id_is_noted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the working directory must not stand in for the hub's base in silence."""
    write(tmp_path / "cwd" / "org" / "name")
    monkeypatch.chdir(tmp_path / "cwd")
    (note,) = open_checkpoint("org/name").notes
    assert str(tmp_path / "cwd" / "org" / "name") in note
    assert "not the hub's model" in note
    for plain in ("./org/name", str(tmp_path / "cwd" / "org" / "name"), Path("org/name")):
        assert open_checkpoint(plain).notes == ()
    monkeypatch.chdir(tmp_path)
    assert open_checkpoint("org/name").notes == ()
