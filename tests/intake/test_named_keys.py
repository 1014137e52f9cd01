"""Which keys that no config class declares transformers' code reads all the same."""

from pathlib import Path

import pytest
from checkpoint_files import write

from unlearn_guard.intake import Blueprint, blueprint
from unlearn_guard.intake.named_keys import is_read


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    return blueprint(write(tmp_path_factory.mktemp("llama")))


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("sliding_window", 8, True),  # what a cache keeps
        ("prefix", "x", True),  # a pipeline writes it before every prompt
        ("is_causal", False, True),
        ("is_causal", None, True),  # its default there is true, which null is not
        ("patch_size", 4, True),
        ("patch_size", None, False),  # as where there is none
        ("unsloth_version", "1", False),
        ("unsloth_version", None, False),
        ("head_dim", 5, False),  # shapes of weights tell
        ("temperature", 0.7, False),  # generation settings, which are compared as such
        ("vision_feature_layer", 1, True),
        ("vision_aspect_ratio", None, True),
    ],
)
def test_what_is_read(llama: Blueprint, key: str, value: object, read: bool) -> None:
    assert is_read(key, value, llama.model) is read


def test_the_model_s_own_code_is_asked_too(llama: Blueprint, tmp_path: Path) -> None:
    """Qwen2-MoE's code names `decoder_sparse_step`, Llama's does not."""
    config = {"model_type": "qwen2_moe", "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    mixture = blueprint(write(tmp_path, config={**config, "shared_expert_intermediate_size": 8}))
    assert is_read("decoder_sparse_step", 2, mixture.model)
    assert not is_read("decoder_sparse_step", 2, llama.model)
