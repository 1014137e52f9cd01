"""A candidate is base but for what was trained, byte for byte."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.tiny import build
from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.intake import open_checkpoint, with_parameters
from unlearn_guard.organism import base_path
from unlearn_guard.unlearning.candidate import write_candidate

NAME = "model.layers.2.mlp.up_proj.weight"


@pytest.fixture
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(base_path(), dtype="auto")


def write(model: Any, out: Path, base: Path | None = None, method: str = "test") -> tuple[str, ...]:
    opened = with_parameters(open_checkpoint(base or base_path()))
    return write_candidate(model, opened.checkpoint, opened.copies, opened.names, out, {"method": method})


def test_only_what_changed_has_other_bytes(model: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        model.get_parameter(NAME)[0, 0] += 1.0
    assert write(model, tmp_path / "out") == (NAME,)
    base, made = open_checkpoint(base_path()), open_checkpoint(tmp_path / "out")
    digests = {tensor.name: tensor.digest for tensor in base.tensors}
    assert [tensor.name for tensor in made.tensors if tensor.digest != digests[tensor.name]] == [NAME]
    assert made.config_digest == base.config_digest
    assert made.tokenizer_digest == base.tokenizer_digest
    stored = load_file(tmp_path / "out" / "model.safetensors")[NAME]
    assert stored.dtype == torch.bfloat16
    assert torch.equal(stored, model.get_parameter(NAME))
    assert made.manifest is not None
    assert made.manifest.method == "test"


def test_a_model_in_fp32_is_written_as_base_is_stored(model: Any, tmp_path: Path) -> None:
    model = model.float()
    with torch.no_grad():
        model.get_parameter(NAME).add_(1.0)
    assert write(model, tmp_path / "out") == (NAME,)


def test_nothing_changed_is_an_error(model: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="changed no weight"):
        write(model, tmp_path / "out")


def test_a_weight_that_is_no_number_is_never_written(model: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        model.get_parameter(NAME)[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=NAME):
        write(model, tmp_path / "out")


def test_a_manifest_of_base_is_replaced(model: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        model.get_parameter(NAME).add_(1.0)
    write(model, tmp_path / "one")
    write(AutoModelForCausalLM.from_pretrained(base_path(), dtype="auto"), tmp_path / "two", tmp_path / "one", "second")
    assert json.loads((tmp_path / "two" / "unlearn_guard.json").read_text()) == {"method": "second"}


SIZES = {"vocab_size": 700, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
SIZES |= {"num_attention_heads": 2, "num_key_value_heads": 1}


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base_path() / name, folder / name)
    return folder


def test_a_tied_head_that_base_stores_is_written_twice(tmp_path: Path) -> None:
    folder = saved(build("llama", tie_word_embeddings=True, **SIZES), tmp_path / "base")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    with torch.no_grad():
        model.get_input_embeddings().weight[3, 4] += 1.0
    assert write(model, tmp_path / "out", folder) == ("model.embed_tokens.weight",)
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(made["lm_head.weight"], model.get_input_embeddings().weight)
    assert torch.equal(made["model.embed_tokens.weight"], made["lm_head.weight"])


def test_the_experts_of_a_mixture_are_written_where_base_stores_them(tmp_path: Path) -> None:
    folder = saved(build("mixtral", num_local_experts=3, **SIZES), tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    name = "model.layers.0.mlp.experts.gate_up_proj"
    with torch.no_grad():
        model.get_parameter(name)[1, 70, 5] += 1.0
    assert write(model, tmp_path / "out", folder) == (name,)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    before, after = (load_file(each / "model.safetensors") for each in (folder, tmp_path / "out"))
    assert [key for key in before if not torch.equal(before[key], after[key])] == [
        "model.layers.0.block_sparse_moe.experts.1.w3.weight"
    ]
