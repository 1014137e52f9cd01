"""Which differences of two configs change what a model computes: pairs of configs, both as a user could have them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import CONFIG, weights, write
from edited import opened
from transformers import Gemma3Config, GPT2Config

from tests.families import config
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake.computed import (
    _declared,
    _leaves,
    _same_activation,
    _same_rotary,
    _turns_only,
    compare_configs,
    same_number,
)
from unlearn_guard.intake.intake import Intake

YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4096, "attention_factor": 1.0}


def pair(tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[Intake, Intake]:
    before, after = write(tmp_path / "before", config=ours), write(tmp_path / "after", weights(seed=1), config=theirs)
    return opened(before), opened(after)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"unsloth_version": "1"}, {"unsloth_version": "2"}),
        ({"unsloth_version": "1"}, {}),
        ({}, {"patch_size": None}),  # a name that is read, but null is as good as none there
        ({"eos_token_id": 2}, {"eos_token_id": [2, 3]}),
        ({"eos_token_id": 2}, {"eos_token_id": None}),
        ({"sep_token_id": 2**31}, {"sep_token_id": 2**31 - 1}),
        ({"sep_token_id": 1}, {"sep_token_id": -(2**31) + 1}),
        ({"rope_scaling": YARN}, {"rope_scaling": {**YARN, "beta_fast": 32}}),  # its default
        ({}, {"rotary_pct": 0.5}),  # which another kind of model turns by
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, {"rope_scaling": {"rope_type": "linear", "factor": 2}}),
        ({"use_cache": True, "dtype": "float32"}, {"use_cache": False, "dtype": "bfloat16"}),
        ({"max_position_embeddings": 64}, {"max_position_embeddings": 65}),
        ({"hidden_act": "gelu_new"}, {"hidden_act": "gelu_pytorch_tanh"}),  # one function, summed in another order
    ],
)
def test_what_changes_no_answer_is_named_in_a_note(tmp_path: Path, ours: dict, theirs: dict) -> None:
    defects, notes = compare_configs(*pair(tmp_path, ours, theirs))
    assert defects == []
    (note,) = notes or ["nothing but rope_scaling"]
    assert all(f"'{key}'" in note for key in {*ours, *theirs} - {"rope_scaling"})
    assert "in what shapes no answer" in note or not notes


def test_generation_settings_of_config_json_are_compared_elsewhere(tmp_path: Path) -> None:
    assert compare_configs(*pair(tmp_path, {"temperature": 0.5}, {"temperature": 0.7, "num_beams": 3})) == ([], [])


@pytest.mark.parametrize(
    ("ours", "theirs", "where", "found", "expected"),
    [
        ({}, {"sliding_window": 8}, "sliding_window", "8", "base's nothing"),
        ({"prefix": "a"}, {"prefix": "b"}, "prefix", "'b'", "base's 'a'"),
        ({"prefix": "a"}, {"prefix": None}, "prefix", "None", "base's 'a'"),
        ({}, {"sep_token_id": 2**31}, "sep_token_id", "2147483648", "base's nothing"),
        ({}, {"sep_token_id": -(2**31)}, "sep_token_id", "-2147483648", "base's nothing"),
        ({}, {"sep_token_id": [1.0]}, "sep_token_id", "[1.0]", "base's nothing"),
        ({"rms_norm_eps": 1e-06}, {"rms_norm_eps": 1e-05}, "rms_norm_eps", "1e-05", "base's 1e-06"),
        ({}, {"max_position_embeddings": 63}, "max_position_embeddings", "63", "base's 64"),
        ({"hidden_act": "gelu"}, {"hidden_act": "gelu_new"}, "hidden_act", "'gelu_new'", "base's 'gelu'"),
    ],
)
def test_what_changes_answers_is_a_defect(
    tmp_path: Path, ours: dict, theirs: dict, where: str, found: str, expected: str
) -> None:
    (defect,), notes = compare_configs(*pair(tmp_path, ours, theirs))
    assert (defect.where, defect.found, defect.expected) == (f"config.json: {where}", found, expected)
    assert notes == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"rope_scaling": YARN}, {"rope_scaling": {**YARN, "attention_factor": 2.0}}),  # equal angles, other scale
        ({"rope_scaling": YARN}, {"rope_scaling": {**YARN, "beta_fast": 2}}),
        ({"rope_scaling": YARN}, {}),
        ({"rope_theta": 10000.0}, {"rope_theta": 10001.0}),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
         {"rope_scaling": {"rope_type": "dynamic", "factor": 2.5}}),
    ],
)  # fmt: skip
def test_other_angles_or_scales_are_a_defect(tmp_path: Path, ours: dict, theirs: dict) -> None:
    defects, _ = compare_configs(*pair(tmp_path, ours, theirs))
    assert "config.json: rope_parameters" in [each.where for each in defects]


def test_a_longer_context_of_angles_that_grow_with_it_is_a_defect(tmp_path: Path) -> None:
    growing = {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
    defects, _ = compare_configs(*pair(tmp_path, growing, {**growing, "max_position_embeddings": 128}))
    assert "config.json: max_position_embeddings" in [each.where for each in defects]


def test_another_kind_of_model_is_one_defect(tmp_path: Path) -> None:
    (defect,), notes = compare_configs(*pair(tmp_path, {}, {"model_type": "mistral"}))
    assert (defect.where, defect.found, defect.expected) == ("config.json: model_type", "'mistral'", "base's 'llama'")
    assert notes == []


def test_where_it_was_saved_is_not_worth_a_note(tmp_path: Path) -> None:
    assert compare_configs(*pair(tmp_path, {"_name_or_path": "/a"}, {"_name_or_path": "/b"})) == ([], [])


def test_windows_that_layers_are_listed_for_may_be_counted_otherwise(tmp_path: Path) -> None:
    """Qwen2 spends max_window_layers on layer_types; where those are written down nothing reads it any more."""
    qwen = {"model_type": "qwen2", "layer_types": ["full_attention"] * 2, "max_window_layers": 2}
    sides = []
    for name, more, seed in (("before", {}, 0), ("after", {"max_window_layers": 1}, 1)):
        tensors = weights(seed=seed)
        for layer in range(CONFIG["num_hidden_layers"]):  # type: ignore[call-overload]
            for each in "qkv":
                tensors[f"model.layers.{layer}.self_attn.{each}_proj.bias"] = ("F32", (16,), bytes(64))
        sides.append(opened(write(tmp_path / name, tensors, config={**qwen, **more})))
    defects, notes = compare_configs(*sides)
    assert defects == []
    assert "'max_window_layers'" in notes[0]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (0, 0.0, True), (1, True, False), (True, True, True), (False, 0, False), ({"a": 0}, {"a": 0.0}, True),
        ({"a": 1}, {"a": 1, "b": 1}, False), ({"a": 1}, {"a": 2}, False), ([1, 2], (1, 2.0), True),
        ([1], [1, 2], False), ([1, 2], [2, 1], False), ({"a": [True]}, {"a": [1]}, False), ("1", 1, False),
        (None, None, True), ([], {}, False),
    ],
)  # fmt: skip
def test_numbers_are_one_however_they_are_spelt(left: object, right: object, same: bool) -> None:
    assert same_number(left, right) is same
    assert same_number(right, left) is same
    if not isinstance(left, tuple) and not isinstance(right, tuple) and same:
        assert json.loads(json.dumps(left)) == json.loads(json.dumps(right))


def test_a_class_declares_its_fields_and_their_other_names() -> None:
    assert {"n_embd", "hidden_size", "vocab_size"} <= _declared(GPT2Config)
    assert "unsloth_version" not in _declared(GPT2Config)


def test_a_config_inside_another_is_walked_key_by_key() -> None:
    found = dict(_leaves(Gemma3Config(), "config.json"))
    assert found["config.json: text_config: hidden_size"].declared
    assert found["config.json: text_config: hidden_size"].value == Gemma3Config().text_config.hidden_size
    assert "config.json: text_config" not in found
    assert isinstance(found["config.json: text_config: rope_parameters"].value, dict)


def test_what_an_inner_config_says_of_its_past_and_its_training_is_judged_by_the_key(tmp_path: Path) -> None:
    """A wrapper's text_config, whose keys stand two levels deep."""
    sides = []
    for name, more in (("a", {}), ("b", {"_name_or_path": "/b", "use_cache": False})):
        document = json.loads(config("gemma3").to_json_string(use_diff=False))
        document["text_config"] |= more
        sides.append(open_checkpoint(write(tmp_path / name, config=document), tokenizer=False))
    defects, notes = compare_configs(*sides)
    assert defects == []
    assert notes == ["config.json differs from base's in what shapes no answer: 'text_config: use_cache'"]


def test_a_class_that_is_no_dataclass_declares_what_it_annotates() -> None:
    assert _declared(type("Old", (), {"__annotations__": {"width": int}})) == {"width"}


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("silu", "swish", True), ("gelu", "relu", False), ("no_such", "silu", False), ("silu", "no_such", False),
        ("no_such", "no_other", False), (None, "silu", False), ("silu", ["silu"], False),
    ],
)  # fmt: skip
def test_activations_are_one_where_they_compute_one_thing(left: object, right: object, same: bool) -> None:
    assert _same_activation(left, right) is same


class Rotary(torch.nn.Module):
    """As transformers' own: made of a config, frequencies in buffers."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        for name, values in config["angles"].items():
            self.register_buffer(name, torch.tensor(values))
        for name, value in config.get("said", {}).items():
            setattr(self, name, value)


ANGLES = {"inv_freq": [1.0, 0.5]}
KINDS = {"full": "default", "sliding": "linear"}


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({}, {}, True),  # which says no rope_type
        ({"said": {"rope_type": KINDS}}, {"said": {"rope_type": KINDS}}, True),
        ({"said": {"rope_type": {**KINDS, "full": "dynamic"}}}, {}, False),
        ({"said": {"rope_type": "linear"}}, {"said": {"rope_type": "longrope"}}, False),
        ({}, {"angles": {"inv_freq": [1.0, 0.25]}}, False),
        ({}, {"angles": {**ANGLES, "local_inv_freq": [1.0]}}, False),
        ({"angles": {**ANGLES, "local_inv_freq": [1.0]}}, {}, False),
        ({"said": {"attention_scaling": 1.0}}, {"said": {"attention_scaling": 1.5}}, False),
        ({"said": {"full_attention_scaling": 1.0}}, {}, False),
        ({"said": {"seen": 1}}, {"said": {"seen": 2}}, True),
    ],
)
def test_rotary_embeddings_are_made_anew_and_compared(ours: dict, theirs: dict, same: bool) -> None:
    assert _same_rotary(Rotary({"angles": ANGLES, **ours}), Rotary({"angles": ANGLES, **theirs})) is same


def test_a_rotary_embedding_that_cannot_be_made_anew_is_not_known_to_be_the_same() -> None:
    made = Rotary({"angles": ANGLES})
    made.config = {}
    assert _same_rotary(made, made) is False


@pytest.mark.parametrize(
    ("value", "alone"),
    [
        (1.0, True), (None, True), ({}, True), ({"factor": 2.0}, True), ({"full_attention": {"factor": 2.0}}, True),
        ({"full_attention": {"llama_4_scaling_beta": 0.1}}, False), ({"factor": 2.0, "mscale": 1.0}, False),
    ],
)  # fmt: skip
def test_which_settings_of_rope_turn_and_do_nothing_else(value: Any, alone: bool) -> None:
    assert _turns_only(value) is alone
