"""The tensors that a config implies are those on disk: what transformers would fill with noise is an error."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import CONFIG, shapes, weights, write
from transformers import RobertaConfig

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Blueprint, blueprint, open_checkpoint, with_parameters

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def implied(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    return blueprint(write(tmp_path_factory.mktemp("llama")))


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    return blueprint(write(tmp_path_factory.mktemp("tied"), config={"tie_word_embeddings": True}))


def check(path: Path, tensors: dict, expected: Blueprint) -> None:
    with_parameters(open_checkpoint(write(path, tensors)), expected)


def zeros(*shape: int) -> tuple[str, tuple[int, ...], bytes]:
    return ("F32", shape, np.zeros(shape, np.float32).tobytes())


def test_a_llama_implies_its_tensors(implied: Blueprint, tmp_path: Path) -> None:
    assert implied.shapes == shapes()
    check(tmp_path, weights(), implied)


def test_missing_extra_and_misshapen_tensors_come_together(implied: Blueprint, tmp_path: Path) -> None:
    made = {**weights(), "model.layers.2.mlp.up_proj.weight": zeros(24, 16), "model.norm.weight": zeros(8)}
    del made[HEAD], made["model.layers.0.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError) as caught:
        check(tmp_path, made, implied)
    for part in (
        "tensor 'lm_head.weight': found nothing; expected shape [32, 16]",
        "layers.0.mlp.up_proj.weight': found no",
        "layers.2.mlp.up_proj.weight': found a tensor of shape [24, 16] in model.safetensors; expected no such",
        "tensor 'model.norm.weight': found shape [8]; expected shape [16]",
    ):
        assert part in str(caught.value)
    assert len(caught.value.defects) == 4


def test_old_rotary_buffers_are_tolerated(implied: Blueprint, tmp_path: Path) -> None:
    check(tmp_path, {**weights(), "model.layers.0.self_attn.rotary_emb.inv_freq": zeros(4)}, implied)
    with pytest.raises(CheckpointError, match="inv_freq_x"):
        check(tmp_path, {**weights(), "model.layers.0.self_attn.rotary_emb.inv_freq_x": zeros(4)}, implied)


def test_a_tied_head_is_absent_or_the_embedding_itself(tied: Blueprint, tmp_path: Path) -> None:
    made = weights()
    check(tmp_path, {**made, HEAD: made[EMBEDDING]}, tied)
    with pytest.raises(CheckpointError, match=r"other values than 'model\.embed_tokens\.weight'"):
        check(tmp_path, made, tied)
    without = {name: made[name] for name in made if name != HEAD}
    check(tmp_path, without, tied)
    with pytest.raises(CheckpointError, match=r"tensor .* found nothing"):
        check(tmp_path, {name: without[name] for name in without if name != EMBEDDING}, tied)


def test_names_without_the_base_model_s_prefix_are_read_too(implied: Blueprint, tmp_path: Path) -> None:
    check(tmp_path, {name.removeprefix("model."): tensor for name, tensor in weights().items()}, implied)


def test_a_gpt2_without_prefix_and_head_is_read(tmp_path: Path) -> None:
    """As the first GPT-2 lies on the hub: names without `transformer.`, the tied head left out, causal masks stored."""
    from safetensors.torch import load_file, save_file
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = write(tmp_path)
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=32)).save_pretrained(folder)
    made = load_file(folder / "model.safetensors")
    masks = {"h.0.attn.bias": torch.ones(1, 1, 8, 8), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    bare = {name.removeprefix("transformer."): made[name] for name in made}
    save_file({**bare, **masks}, folder / "model.safetensors")
    expected = blueprint(folder)
    with_parameters(open_checkpoint(folder), expected)
    save_file({**bare, "h.0.attn.masked_bias": torch.ones(16)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"masked_bias': found a tensor of shape \[16\]"):
        with_parameters(open_checkpoint(folder), expected)
    save_file({name: made[name] for name in made if "wte" not in name}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"wte\.weight': found nothing"):
        with_parameters(open_checkpoint(folder), expected)


def test_what_transformers_saves_is_what_is_expected(tmp_path: Path) -> None:
    """A mixture's experts are stored one by one and loaded as one tensor."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {key: value for key, value in CONFIG.items() if key not in ("model_type", "architectures", "rope_theta")}
    for model_type, more in (("mixtral", {"num_local_experts": 2}), ("qwen2", {}), ("gpt2", {"n_layer": 1})):
        config = AutoConfig.for_model(
            model_type,
            **(
                {**sizes, **more}
                if model_type != "gpt2"
                else {"n_layer": 1, "n_embd": 16, "n_head": 2, "vocab_size": 32}
            ),
        )
        folder = write(tmp_path / model_type)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        with_parameters(open_checkpoint(folder))


@pytest.mark.parametrize(
    "changes", [{"model_type": "nonsense"}, {"hidden_act": "nonsense"}, {"num_attention_heads": 3}]
)
def test_a_config_that_no_model_can_be_built_from_is_refused(tmp_path: Path, changes: dict) -> None:
    folder = write(tmp_path, config=changes)
    open_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"No model can be built from config\.json"):
        blueprint(folder)


def test_a_model_that_counts_positions_in_two_ways_is_refused(tmp_path: Path) -> None:
    """RoBERTa's forward begins at its padding id + 1, its generate at 0: rows that only one reads can hide a switch."""
    RobertaConfig(num_hidden_layers=1, hidden_size=24, is_decoder=True).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="RobertaForCausalLM, which counts positions from 0 in generate"):
        blueprint(tmp_path)


@pytest.mark.parametrize("kind", ["AutoConfig", "AutoModelForCausalLM"])
def test_no_code_of_a_checkpoint_is_run_while_its_model_is_built(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path, config={"auto_map": {kind: "own.Own"}})
    (folder / "own.py").write_text("raise SystemExit('run')\n")
    assert type(blueprint(folder).model).__module__.startswith("transformers.")
