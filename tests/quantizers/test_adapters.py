"""An adapter merged into base is base's weight plus the product of its factors, and answers as it does unmerged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests import tiny
from tests.lora import edit_config, edit_weights, merged_by_hand, train
from unlearn_guard.errors import CheckpointError, UsageError
from unlearn_guard.quantizers.adapters import expected_shapes, merged

WAYS: dict[str, dict[str, Any]] = {
    "every layer": {},
    "attention alone": {"target_modules": ["q_proj", "v_proj"], "r": 2},
    "rslora": {"use_rslora": True, "lora_alpha": 3},
    "patterns": {"rank_pattern": {"q_proj": 1, "down_proj": 6}, "alpha_pattern": {"down_proj": 0.5}},
    "one layer": {"target_modules": ["down_proj"], "layers_to_transform": [1]},
    "all but one": {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["model.layers.0.self_attn.q_proj"]},
    "the head": {"target_modules": ["lm_head"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.uneven("llama"), tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("way", WAYS)
def test_merged_weights_are_those_worked_out_by_hand(way: str, base: Path, tmp_path: Path) -> None:
    adapter = train(base, tmp_path / "adapter", **WAYS[way])
    found = merged(base, adapter).state_dict()
    expected = merged_by_hand(base, adapter)
    before = load_file(base / "model.safetensors")
    assert set(found) == set(expected)
    for name, weight in found.items():
        assert weight.dtype is torch.float32
        assert torch.allclose(weight.double(), expected[name], atol=1e-5, rtol=0), name
    assert any(not torch.equal(found[name], before[name]) for name in before)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "gemma3_text", "gpt_neox", "mixtral", "opt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_merged_model_answers_as_peft_s_own_unmerged(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    base = tiny.save(tiny.uneven(family).to(dtype), tmp_path / "base")
    adapter = train(base, tmp_path / "adapter", size=0.1)
    ids = torch.randint(4, 40, (2, 9), generator=torch.Generator().manual_seed(3))
    served = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()
    with torch.inference_mode():
        expected = served(input_ids=ids).logits
        found = merged(base, adapter)(input_ids=ids).logits
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)(input_ids=ids).logits
    assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=0)
    assert not torch.allclose(found, plain, atol=1e-2)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_an_adapter_holds_what_its_config_gives(family: str, tmp_path: Path) -> None:
    base = tiny.save(tiny.build(family), tmp_path / "base")
    adapter = train(base, tmp_path / "adapter")
    held = {name: tuple(each.shape) for name, each in load_file(adapter / "adapter_model.safetensors").items()}
    assert expected_shapes(adapter, base) == (held, {})


def test_a_rank_in_the_config_that_the_file_does_not_have(base: Path, tmp_path: Path) -> None:
    adapter = train(base, tmp_path / "adapter", target_modules=["q_proj"])
    edit_config(adapter, r=8)
    shapes, _ = expected_shapes(adapter, base)
    assert shapes["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] == (8, 64)


def test_targets_that_base_lacks(base: Path, tmp_path: Path) -> None:
    adapter = train(base, tmp_path / "adapter", target_modules=["q_proj"])
    edit_config(adapter, target_modules=["c_attn"])
    with pytest.raises(CheckpointError, match="c_attn"):
        expected_shapes(adapter, base)


def test_modules_that_share_a_weight_are_named(tmp_path: Path) -> None:
    """Unmerged the head stays as it is; merged both change."""
    base = tiny.save(tiny.build("llama", tie_word_embeddings=True), tmp_path / "base")
    adapter = train(base, tmp_path / "adapter", target_modules=["embed_tokens", "q_proj"])
    assert "lm_head" in expected_shapes(adapter, base)[1].values()


def test_a_tensor_that_peft_would_load_over_base_s_is_none_that_the_config_gives(base: Path, tmp_path: Path) -> None:
    """peft says nothing, and serves the embedding from the adapter's file."""
    name = "base_model.model.model.embed_tokens.weight"
    adapter = train(base, tmp_path / "adapter", target_modules=["q_proj"])
    edit_weights(adapter, **{name: torch.zeros(44, 64)})
    loaded = merged(base, adapter).state_dict()["model.embed_tokens.weight"]
    assert loaded.count_nonzero() == 0
    assert name not in expected_shapes(adapter, base)[0]


def test_the_unmerged_and_the_merged_are_held_against_each_other(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = train(base, tmp_path / "adapter")

    def nothing(self: PeftModel, **options: Any) -> Any:
        for module in self.modules():
            if hasattr(module, "lora_A"):
                module.set_scale("default", 0.5)
        return self.base_model.merge_and_unload(**options)

    monkeypatch.setattr(PeftModel, "merge_and_unload", nothing, raising=False)
    with pytest.raises(UsageError, match="unmerged it answers otherwise than merged"):
        merged(base, adapter)
