"""config.json: nothing that reaches code, no absurd size, strict JSON."""

import json
from pathlib import Path

import pytest
from checkpoint_files import CONFIG, write
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake.documents import parse


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "config.json: found an empty file"),
        ("[]", "config.json: found a JSON list; expected a JSON object"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' twice"),
        ('{"a": NaN}', "the number NaN"),
        ('{"a": -Infinity}', "the number -Infinity"),
        ('{"a": 1e999}', "'1e999', which is infinite"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "more than 64 levels"),
        ('{"a":' * 70 + "1" + "}" * 70, "more than 64 levels"),
        ('{"a": 1', "broken JSON at line 1"),
        (" " * (4 * 2**20 + 1), "more than 4194304 bytes"),
    ],
)
def test_json_that_hides_something_is_refused(sound: Path, refused, text: str, pattern: str) -> None:
    (sound / "config.json").write_text(text)
    refused(sound, pattern)


def test_json_that_is_not_utf8_is_refused(sound: Path, refused) -> None:
    (sound / "config.json").write_bytes(b'{"a": "\xff"}')
    refused(sound, "not UTF-8, at byte 7")


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789eE.-truefalsnNI \\u', max_size=60).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_parsed_as_python_does_or_refused(raw: bytes) -> None:
    try:
        found = parse(raw, "x")
    except CheckpointError:
        return
    assert found == json.loads(raw)


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"model_type": "foreign", "auto_map": {"AutoModel": "x.Y"}}, "config.json: auto_map: .*names Python files"),
        ({"trust_remote_code": True}, "trust_remote_code: found True"),
        ({"text_config": {"trust_remote_code": True}}, "config.json: text_config: trust_remote_code"),
        ({"list": [{"auto_map": {"a": "b"}}]}, r"config.json: list\[0\]: auto_map"),
        ({"_attn_implementation_internal": "evil/kernel"}, "_attn_implementation_internal.*CVE-2026-4372"),
        ({"text_config": {"_attn_implementation_internal": "x/y"}}, "text_config: _attn_implementation_internal"),
        ({"_attn_implementation": "evil/kernel"}, "_attn_implementation: found 'evil/kernel'; expected one of eager"),
        ({"attn_implementation": "evil/kernel"}, "attn_implementation: found 'evil/kernel'"),
        ({"_experts_implementation": "evil/kernel"}, "_experts_implementation"),
        ({"_commit_hash": "x"}, "_commit_hash.*no private key but _name_or_path"),
        ({"_name_or_path": {"a": 1}}, "_name_or_path: .*expected str or null"),
        ({"use_kernels": True}, "use_kernels.*fetches kernels"),
        ({"model_type": None}, "model_type: found None; expected a name"),
        ({"model_type": 5}, "model_type"),
        ({"architectures": "Llama"}, "architectures: found 'Llama'; expected a list"),
        ({"num_hidden_layers": 20_000}, "num_hidden_layers: found 20000; expected 1 to 1000 .*under 200"),
        ({"vocab_size": 10**9}, "vocab_size: found 1000000000; expected 1 to 8388608"),
        ({"text_config": {"num_hidden_layers": 20_000}}, "text_config: num_hidden_layers"),
        ({"hidden_size": "16"}, "hidden_size: found '16'; expected a whole number"),
        ({"hidden_size": True}, "hidden_size: found True"),
        ({"hidden_size": 16.0}, "hidden_size: found 16.0"),
        ({"hidden_size": 0}, "hidden_size: found 0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers: found -1"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings: found 'no'; expected true or false"),
        ({"dtype": "int4"}, "dtype: found 'int4'"),
        ({"dtype": ["bfloat16"]}, "dtype: found"),
    ],
)
def test_a_config_that_must_not_be_loaded(tmp_path: Path, refused, changes: dict, pattern: str) -> None:
    refused(write(tmp_path / "bad", config=changes), pattern)


@pytest.mark.parametrize(
    "changes",
    [
        {"_name_or_path": "meta-llama/Llama"},
        {"_attn_implementation_autoset": True, "_attn_implementation": "sdpa"},
        {"auto_map": None, "trust_remote_code": False, "head_dim": None},
        {"dtype": "bfloat16", "torch_dtype": "float32"},
    ],
)
def test_what_published_configs_hold_is_allowed(tmp_path: Path, changes: dict) -> None:
    assert open_checkpoint(write(tmp_path / "good", config=changes)).config == {**CONFIG, **changes}


def test_a_config_without_a_vocabulary_is_no_language_model(sound: Path, refused) -> None:
    (sound / "config.json").write_text('{"model_type": "vit"}')
    refused(sound, "vocab_size: found nothing")


def test_code_in_other_documents_is_refused(sound: Path, refused) -> None:
    (sound / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.Y", null]}}')
    (sound / "generation_config.json").write_text('{"custom_generate": "org/x"}')
    assert (
        len(refused(sound, "tokenizer_config.json: auto_map", "generation_config.json: custom_generate").defects) == 2
    )
