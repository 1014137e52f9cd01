"""Keys that send a loader to another file than the one that was hashed. Found by benchmarks/fuzz.py."""

import json
from pathlib import Path

import pytest
from checkpoint_files import shard, weights, write

from unlearn_guard.intake import open_checkpoint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("transformers_weights", "other.safetensors"),
        ("transformers_weights", ["model.safetensors"]),
        ("transformers_weights", 5),
        ("configuration_files", ["config.json", "config.4.0.json"]),
        ("configuration_files", "config.4.0.json"),
        ("configuration_files", [None]),
        ("fusion_config", {"patch_embeddings": True}),
        ("fusion_config", [None]),
        ("transformers_weights", None),
        ("output_loading_info", False),
        ("output_hidden_states", 1.0),
        ("device_map", "auto"),
        ("transformers_weights", "model.safetensors"),
        ("configuration_files", {"config.4.0.json": None}),
    ],
)
def test_a_config_that_points_elsewhere_is_refused(tmp_path: Path, refused, key: str, value: object) -> None:
    refused(write(tmp_path / "x", config={key: value}), f"config.json: {key}: found")


@pytest.mark.parametrize("names", [["tokenizer.json", "tokenizer.4.json"], "tokenizer.4.json", [None], {"a": 1}, None])
def test_a_tokenizer_config_that_points_elsewhere_is_refused(tmp_path: Path, refused, names: object) -> None:
    refused(write(tmp_path / "x", settings={"fast_tokenizer_files": names}), "fast_tokenizer_files: found")


@pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file", "merges_file"])
def test_special_tokens_name_no_files(sound: Path, refused, key: str) -> None:
    (sound / "special_tokens_map.json").write_text(json.dumps({key: "/elsewhere/tokenizer.json"}))
    refused(sound, f"special_tokens_map.json: {key}: found '/elsewhere/tokenizer.json'; expected no such key")
    (sound / "special_tokens_map.json").write_text(json.dumps({key: None, "unk_token": "<unk>"}))
    open_checkpoint(sound)


@pytest.mark.parametrize("metadata", [None, "x", 5, [], [{}]])
def test_an_index_that_transformers_cannot_load_is_refused(sound: Path, refused, metadata: object) -> None:
    shard(sound, weights(), 2)
    path = sound / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "metadata": metadata}))
    refused(sound, "model.safetensors.index.json: metadata", "cannot load an index without")
    del index["metadata"]
    path.write_text(json.dumps(index))
    refused(sound, "metadata: found nothing; expected an object")
