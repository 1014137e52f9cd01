"""Shards and their index, in the ways that a save can end half way, and that somebody can bend it."""

import json
from pathlib import Path

import pytest
from checkpoint_files import encode, shard, weights, write

from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake.shards import INDEX, SINGLE


def edited(directory: Path, **changes: object) -> None:
    path = directory / INDEX
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("entries", [None, {}, [], 5, "model-00001-of-00002.safetensors", ["a"]])
def test_an_index_without_entries_is_refused(sound: Path, refused, entries: object) -> None:
    shard(sound, weights(), 2)
    edited(sound, weight_map=entries)
    error = refused(sound, r"index\.json: weight_map: found .*; expected an object from tensor names to shard files")
    assert len(error.defects) == 1


@pytest.mark.parametrize(
    "target", ["model-00001-of-00002.bin", "a\\b.safetensors", "./model-00001-of-00002.safetensors"]
)
def test_what_is_no_bare_name_is_one_defect_and_not_said_to_be_missing(sound: Path, refused, target: str) -> None:
    shard(sound, weights(), 2, {"lm_head.weight": target})
    assert len(refused(sound, r"weight_map\['lm_head.weight'\]: found").defects) == 1


def test_the_index_of_a_large_model_is_read(sound: Path) -> None:
    shard(sound, weights(), 2)
    edited(sound, metadata={"note": "x" * (5 * 2**20)})
    assert len(open_checkpoint(sound).tensors) == len(weights())


def test_whole_weights_beside_an_index_whose_shards_have_other_names_are_refused(sound: Path, refused) -> None:
    """A shard counts as one if the index names it, or if it is called like one."""
    raw = (sound / SINGLE).read_bytes()
    (sound / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"a": "part.safetensors"}}))
    (sound / "part.safetensors").write_bytes(raw)
    refused(sound, "weights: found both")
    (sound / "part.safetensors").rename(sound / "model-1-of-2.safetensors")
    refused(sound, "weights: found both")
    (sound / "model-1-of-2.safetensors").rename(sound / "unnamed.safetensors")
    assert len(open_checkpoint(sound).notes) == 2


@pytest.mark.parametrize("entries", [None, [], {"a": 5}])
def test_whole_weights_do_beside_an_index_that_says_nothing(sound: Path, entries: object) -> None:
    (sound / INDEX).write_text(json.dumps({"weight_map": entries}))
    (note,) = open_checkpoint(sound).notes
    assert note == f"{INDEX} is left out: no shard of it is here, and {SINGLE} holds the model"


def test_files_that_no_index_names_are_noted(sound: Path) -> None:
    shard(sound, weights(), 2)
    (sound / "extra.safetensors").write_bytes(b"")
    assert open_checkpoint(sound).notes == ("safetensors files that the model does not use: 'extra.safetensors'",)


def test_no_weights_at_all_and_none_in_them_are_told_apart(sound: Path, refused) -> None:
    (sound / SINGLE).write_bytes(encode({}))
    refused(sound, "model.safetensors: found no tensors; expected the weights of a model")
    (sound / SINGLE).unlink()
    refused(sound, f"weights: found none; expected {SINGLE}, or {INDEX} and its shards")
    (sound / "other.safetensors.index.json").write_text("{}")
    refused(sound, "weights: found only 'other.safetensors.index.json'; .*transformers reads no other name")


def test_every_defect_of_every_shard_is_named(sound: Path, refused) -> None:
    shard(sound, weights(), 2)
    for at in (1, 2):
        (sound / f"model-0000{at}-of-00002.safetensors").write_bytes(b"x")
    error = refused(sound, "model-00001-of-00002.safetensors: found 1 bytes", "model-00002-of-00002.safetensors: found")
    assert len(error.defects) == 2


def test_a_missing_shard_says_how_many_tensors_it_held(tmp_path: Path, refused) -> None:
    shard(write(tmp_path / "x"), weights(), 2)
    (tmp_path / "x" / "model-00002-of-00002.safetensors").unlink()
    refused(tmp_path / "x", f"'model-00002-of-00002.safetensors': found no such file; expected 10 tensors by {INDEX}")


@pytest.mark.parametrize(("metadata", "found"), [(None, "nothing"), ({"metadata": [1]}, r"\[1\]")])
def test_an_index_without_metadata_says_what_stands_there(
    sound: Path, refused, metadata: dict | None, found: str
) -> None:
    shard(sound, weights(), 2)
    index = json.loads((sound / INDEX).read_text())
    del index["metadata"]
    (sound / INDEX).write_text(json.dumps({**index, **(metadata or {})}))
    refused(sound, f"metadata: found {found}; expected an object")
