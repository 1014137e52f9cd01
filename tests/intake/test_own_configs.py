"""Configs exactly as the installed transformers saves them open; what it would be led elsewhere by does not."""

from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import write
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import native, open_checkpoint
from unlearn_guard.intake.config import check_config, check_no_code
from unlearn_guard.intake.documents import read_document
from unlearn_guard.records import FULL

NAMES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
SMALL: dict[str, Any] = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
NEEDED: dict[str, dict[str, Any]] = {
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}}
}
"""What a class cannot be built without."""


def saved(tmp_path: Path, name: str, **values: Any) -> dict[str, Any]:
    """The config.json that transformers writes for this class, read as intake reads it."""
    CONFIG_MAPPING[name](**values).save_pretrained(tmp_path)
    return read_document(tmp_path / "config.json")


@pytest.mark.parametrize("name", NAMES)
def test_every_causal_config_with_its_defaults_is_taken(tmp_path: Path, name: str) -> None:
    check_config(saved(tmp_path, name, **NEEDED.get(name, {})), FULL)


def test_every_causal_config_that_can_be_shrunk_is_taken(tmp_path: Path) -> None:
    taken = []
    for name in NAMES:
        try:
            config = saved(tmp_path / name, name, **SMALL)
        except Exception:
            continue
        check_config(config, FULL)
        taken.append(name)
    assert len(taken) > 100
    assert {"gemma3_text", "llama", "opt", "qwen3"} <= set(taken)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gemma3_text", {"_sliding_window_pattern": 6}),
        ("gemma3", {"text_config": {"model_type": "gemma3_text", "_sliding_window_pattern": 6}}),
        ("opt", {"_remove_final_layer_norm": False}),
        ("gemma4_text", {"num_experts": None}),
        ("gpt_neo", {"intermediate_size": None}),
        ("mamba2", {"time_step_limit": [0.0, {"__float__": "Infinity"}]}),
        ("llama", {"_commit_hash": None}),
        ("granitemoehybrid", {"num_local_experts": 0}),
        ("gemma3n_text", {"intermediate_size": [64, 128]}),
        ("phi3", {"auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}}),
    ],
)
def test_what_transformers_or_its_users_write_is_taken(name: str, changes: dict[str, Any]) -> None:
    check_config({"model_type": name, "vocab_size": 32} | changes, FULL)


def test_a_vocabulary_of_the_default_size_may_be_left_out() -> None:
    """google/gemma-3-4b-it names no vocab_size: its class has one."""
    check_config({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 16}}, FULL)


@pytest.mark.parametrize(
    ("name", "changes", "pattern"),
    [
        ("gemma3_text", {"_sliding_window_pattern": "evil/kernel"}, "_sliding_window_pattern"),
        ("gemma3_text", {"_sliding_window_pattern": ["os"]}, "_sliding_window_pattern"),
        ("gemma3_text", {"_sliding_window_pattern": {"a": 1}}, "_sliding_window_pattern"),
        ("llama", {"_sliding_window_pattern": 6}, "no private key but"),
        ("llama", {"_unheard_of": 1}, "_unheard_of"),
        ("llama", {"_auto_class": None}, "_auto_class"),
        ("llama", {"_auto_class": "AutoConfig"}, "_auto_class"),
        ("llama", {"_post_init_done": True}, "_post_init_done"),
        ("llama", {"_commit_hash": "main"}, "_commit_hash"),
        *((name, {"_attn_implementation_internal": value}, "CVE-2026-4372")
          for name in ("llama", "gemma3_text")
          for value in (None, "eager", "sdpa", "evil/kernel", {}, [], 0, False)),
        *(("llama", {"_experts_implementation_internal": value}, "CVE-2026-4372") for value in (None, "eager", {})),
        ("llama", {"rope": {"_attn_implementation_internal": None}}, "rope: _attn_implementation_internal"),
        ("mamba2", {"limit": {"__float__": "Infinity", "x": 1}}, "__float__"),
        ("mamba2", {"limit": {"__float__": "evil/kernel"}}, "__float__"),
        ("mamba2", {"num_hidden_layers": {"__float__": "Infinity"}}, "num_hidden_layers"),
        ("gemma3n_text", {"intermediate_size": [64, 10**9]}, "intermediate_size: found 1000000000"),
        ("gemma3n_text", {"intermediate_size": [64] * 1_001}, "a list of 1001"),
        ("gemma3n_text", {"intermediate_size": [True]}, "intermediate_size: found True"),
        ("llama", {"hidden_size": [16]}, "hidden_size"),
        ("gemma3", {"text_config": {"num_attention_heads": [10**6]}}, "text_config: num_attention_heads"),
        ("no_such_model", {"auto_map": {"AutoConfig": "x.Y"}}, "auto_map"),
        ("vit", {"auto_map": {"AutoConfig": "x.Y"}}, "auto_map"),
        ("phi3", {"auto_map": ["x.Y"]}, "auto_map"),
        ("phi3", {"auto_map": {"tokenizer": "x.Y"}}, "auto_map"),
        ("phi3", {"nested": [{"auto_map": {"AutoConfig": "x.Y"}}]}, "auto_map"),
        ("phi3", {"trust_remote_code": True}, "trust_remote_code"),
        ("phi3", {"vision_config": {"model_type": "phi3", "trust_remote_code": True}}, "trust_remote_code"),
    ],
)  # fmt: skip
def test_a_config_that_reaches_code_or_absurd_sizes_is_refused(
    name: str, changes: dict[str, Any], pattern: str
) -> None:
    with pytest.raises(CheckpointError, match=pattern):
        check_config({"model_type": name, "vocab_size": 32} | changes, FULL)


@pytest.mark.parametrize("value", [None, {}, [], "", "other.json", ["config.4.0.0.json"], {"x": "y"}, False])
@pytest.mark.parametrize(
    "key", ["configuration_files", "transformers_weights", "fast_tokenizer_files", "gguf_file", "tokenizer_object"]
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_keys_that_lead_to_other_files_are_refused_in_any_value_at_any_depth(file: str, key: str, value: Any) -> None:
    for document in ({key: value}, {"deep": {key: value}}, {"list": [{"deeper": {key: value}}]}):
        (defect,) = check_no_code(document, file)
        assert key in defect.where
        assert "other files" in defect.expected


@pytest.mark.parametrize(
    ("file", "document"),
    [
        ("tokenizer_config.json", {"init_inputs": ["vocab.json"]}),
        ("tokenizer_config.json", {"init_inputs": None}),
        ("tokenizer_config.json", {"vocab": "/elsewhere/vocab.json"}),
        ("tokenizer_config.json", {"vocab": {}}),
        ("tokenizer_config.json", {"merges": "../merges.txt"}),
        ("tokenizer_config.json", {"mecab_kwargs": {"mecab_option": "-d /elsewhere"}}),
        ("tokenizer_config.json", {"sudachi_kwargs": {"sudachi_config_path": "x.json"}}),
        ("tokenizer_config.json", {"custom_generate": "org/name"}),
        ("config.json", {"vision_config": {"model_type": "timm_wrapper", "architecture": "hf-hub:org/name"}}),
        ("config.json", {"vision_config": {"backbone": "local-dir:/elsewhere"}}),
    ],
)
def test_a_value_that_a_library_opens_as_a_file_is_refused(file: str, document: dict[str, Any]) -> None:
    assert len(check_no_code(document, file)) == 1


@pytest.mark.parametrize(
    "key",
    ["special_tokens_map_file", "tokenizer_file", "vocab_file", "merges_file", "added_tokens_file", "name_or_path"],
)
def test_dead_keys_of_published_tokenizers_are_taken(tmp_path: Path, key: str) -> None:
    """transformers puts the paths that it resolved itself over these, whatever they say."""
    settings = {key: "/home/somebody/vocab.json", "init_inputs": []}
    intake = open_checkpoint(write(tmp_path / "old", settings=settings))
    assert intake.tokenizer.documents["tokenizer_config.json"][key] == settings[key]


def test_the_named_code_of_an_implemented_model_is_noted_and_not_run(tmp_path: Path) -> None:
    code = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}
    folder = write(tmp_path / "phi", config={"model_type": "phi3", "auto_map": code})
    (folder / "configuration_phi3.py").write_text("raise SystemExit('run')\n")
    (note,) = (each for each in open_checkpoint(folder).notes if "auto_map" in each)
    assert "'configuration_phi3.Phi3Config'" in note
    assert "never run" in note
    assert type(AutoConfig.from_pretrained(folder, trust_remote_code=False)).__module__.startswith("transformers.")


def test_what_a_class_keeps_privately_is_read_from_the_class() -> None:
    assert "_sliding_window_pattern" in native.private_keys({"model_type": "gemma3_text"})
    assert "_sliding_window_pattern" in native.private_keys({"model_type": "gemma3"})
    assert "_sliding_window_pattern" not in native.private_keys({"model_type": "llama"})
    assert not any("implementation" in key for name in NAMES for key in native.private_keys({"model_type": name}))


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("utf-8-sig", "byte order mark"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-32", "UTF-32")],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_json_in_another_encoding_is_named(sound: Path, refused, name: str, encoding: str, word: str) -> None:
    """transformers itself loads neither: a checkpoint with one is broken for everybody."""
    text = (sound / name).read_text() if (sound / name).exists() else "{}"
    (sound / name).write_bytes(text.encode(encoding))
    error = refused(sound, f"{name}: found .*{word}", "expected JSON in UTF-8", "sed|iconv")
    assert "cut short" not in str(error)
    if name == "config.json":
        with pytest.raises((OSError, ValueError)):
            AutoConfig.from_pretrained(sound, local_files_only=True)
