"""What an adapter's directory may hold, and everything in it that is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import encode

from unlearn_guard.errors import CheckpointError, ExitStatus
from unlearn_guard.intake.adapter import assert_fits, is_adapter, open_adapter

CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "org/base",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj", "v_proj"],
    "bias": "none",
    "modules_to_save": None,
    "lora_dropout": 0.05,
    "loftq_config": {},
    "megatron_core": "megatron.core",
    "inference_mode": True,
}
NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
FACTORS = {NAME: ("F32", (2, 16), np.ones((2, 16), dtype=np.float32).tobytes())}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    (folder / "adapter_model.safetensors").write_bytes(encode(FACTORS))
    return folder


@pytest.fixture
def refused(adapter: Path) -> Callable[..., str]:
    def check(*patterns: str) -> str:
        with pytest.raises(CheckpointError) as caught:
            open_adapter(adapter)
        assert caught.value.exit_status is ExitStatus.USAGE
        told = str(caught.value)
        assert all(each in told for each in patterns), told
        return told

    return check


def write(adapter: Path, **changes: Any) -> None:
    held = {key: value for key, value in {**CONFIG, **changes}.items() if value != "left out"}
    (adapter / "adapter_config.json").write_text(json.dumps(held))


WRONG: dict[str, Any] = {
    "peft_type": "IA3",
    "task_type": "SEQ_CLS",
    "bias": "lora_only",
    "modules_to_save": ["lm_head"],
    "use_dora": True,
    "lora_bias": True,
    "use_qalora": True,
    "use_bdlora": {"nblocks": 2},
    "trainable_token_indices": [1],
    "target_parameters": ["experts.down_proj"],
    "alora_invocation_tokens": [1, 2],
    "arrow_config": {"top_k": 3},
    "kasa_config": {"beta": 1e-4},
    "monteclora_config": {"num_samples": 8},
    "velora_config": {"num_groups": 1},
    "megatron_config": {"tensor_model_parallel_size": 1},
    "layer_replication": [[0, 1]],
    "ensure_weight_tying": True,
    "init_lora_weights": "pissa_niter_16",
    "auto_mapping": {"base_model_class": "X", "parent_library": "transformers_modules.org.modeling_x"},
    "a_field_of_a_later_peft": "on",
    "r": 0,
    "lora_alpha": "16",
    "target_modules": [],
    "rank_pattern": {"q_proj": 0},
    "alpha_pattern": {"q_proj": "1"},
    "layers_to_transform": [-1],
    "use_rslora": "no",
}


@pytest.mark.parametrize("field", WRONG)
def test_what_makes_it_anything_but_plain_lora_is_refused_by_its_field(
    field: str, adapter: Path, refused: Callable[..., str]
) -> None:
    write(adapter, **{field: WRONG[field]})
    refused("adapter_config.json", field, "expected")


@pytest.mark.parametrize("start", ["loftq", "olora", "corda", "lora_ga", "mica", 1, "True"])
def test_a_start_that_changes_base_is_refused(start: object, adapter: Path, refused: Callable[..., str]) -> None:
    write(adapter, init_lora_weights=start)
    refused("init_lora_weights", "a start that leaves base's weights as they are")


@pytest.mark.parametrize("name", ["prompt tuning", "PREFIX_TUNING", "ADALORA", "LOHA", "VERA", None])
def test_every_other_kind_of_adapter_is_refused(name: object, adapter: Path, refused: Callable[..., str]) -> None:
    write(adapter, peft_type=name)
    refused("peft_type", "'LORA'")


@pytest.mark.parametrize("field", ["peft_type", "r", "target_modules"])
def test_what_peft_would_fill_in_by_itself_is_not_taken(field: str, adapter: Path, refused: Callable[..., str]) -> None:
    write(adapter, **{field: "left out"})
    refused(f"found no {field}")


HONEST: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 0.5}},
    "some layers": {"layers_to_transform": [0, 3], "layers_pattern": "layers"},
    "one pattern": {"target_modules": r".*\.(q|v)_proj", "exclude_modules": ["lm_head"]},
    "begun from data": {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
    "begun by a normal": {"init_lora_weights": "gaussian"},
    "unsloth": {
        "auto_mapping": {
            "base_model_class": "LlamaForCausalLM",
            "parent_library": "transformers.models.llama.modeling_llama",
            "unsloth_fixed": True,
        },
        "loftq_config": None,
    },
    "an early peft": {"enable_lora": None, "merge_weights": False, "task_type": None},
    "a later peft": {"use_what_comes_next": False, "next_config": None, "peft_version": "9.9", "qalora_group_size": 16},
}


@pytest.mark.parametrize("way", HONEST)
def test_what_trainers_write_is_read(way: str, adapter: Path) -> None:
    write(adapter, **HONEST[way])
    assert open_adapter(adapter).claimed == "org/base"


def test_what_lies_beside_is_left_aside_and_named(adapter: Path, tmp_path: Path) -> None:
    """Trainers leave states and arguments; a config.json without weights is nobody's model."""
    for name in ("training_args.bin", "optimizer.pt", "config.json", "README.md", "chat_template.jinja"):
        (adapter / name).write_text("{}")
    found = open_adapter(adapter, seal_in=tmp_path / "seals")
    assert set(found.files) == {"adapter_config.json", "adapter_model.safetensors"}
    notes = " ".join(found.notes)
    assert all(repr(name) in notes for name in ("training_args.bin", "optimizer.pt", "config.json"))
    assert "'chat_template.jinja' without a vocabulary" in notes
    assert found.digest == open_adapter(adapter).digest


def test_the_order_of_targets_is_no_other_adapter_and_their_names_are(adapter: Path) -> None:
    digest = open_adapter(adapter).digest
    write(adapter, target_modules=["v_proj", "q_proj"], base_model_name_or_path="elsewhere", lora_dropout=0.0)
    assert open_adapter(adapter).digest == digest
    for changes in ({"target_modules": ["q_proj"]}, {"lora_alpha": 5}, {"use_rslora": True}):
        write(adapter, **changes)
        assert open_adapter(adapter).digest != digest


def test_the_candidate_is_another_on_another_base_or_by_another_peft(adapter: Path) -> None:
    found = open_adapter(adapter)
    assert len({found.digest_on(base, peft) for base in "ab" for peft in ("1", "2")}) == 4


def test_a_pickle_is_never_opened(adapter: Path, refused: Callable[..., str]) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    refused("'adapter_model.bin', which is never opened", "expected adapter_model.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_a_whole_model_in_a_pickle_beside_it_is_refused(name: str, adapter: Path, refused: Callable[..., str]) -> None:
    (adapter / name).write_bytes(b"x")
    refused(name, "an adapter or a whole model, not both")


def test_a_whole_model_beside_it_is_no_adapter_for_us(adapter: Path) -> None:
    assert is_adapter(adapter)
    (adapter / "model.safetensors").write_bytes(b"x")
    assert not is_adapter(adapter)
    with pytest.raises(CheckpointError, match="not both"):
        open_adapter(adapter)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_factors_that_are_no_numbers_are_refused(value: float, adapter: Path, refused: Callable[..., str]) -> None:
    raw = np.full((2, 16), value, dtype=np.float32).tobytes()
    (adapter / "adapter_model.safetensors").write_bytes(encode({NAME: ("F32", (2, 16), raw)}))
    refused(NAME, "expected finite weights")


def test_factors_are_floats(adapter: Path, refused: Callable[..., str]) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(encode({NAME: ("U8", (2,), b"ab")}))
    refused(NAME, "found U8")


def test_tensors_are_those_that_the_config_gives(adapter: Path) -> None:
    found = open_adapter(adapter)
    assert_fits(found, {NAME: (2, 16)}, {})
    for expected, told in (
        ({NAME: (4, 16)}, r"shape \[2, 16\]; expected shape \[4, 16\]"),
        ({}, "targets no such module of this base"),
        ({NAME: (2, 16), "another": (16, 2)}, "'another': found no such tensor"),
    ):
        with pytest.raises(CheckpointError, match=told):
            assert_fits(found, expected, {})
    with pytest.raises(CheckpointError, match="whose weight is lm_head too"):
        assert_fits(found, {NAME: (2, 16)}, {"embed_tokens": "lm_head"})
