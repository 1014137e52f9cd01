"""A candidate is base but for what was trained, byte for byte."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.organism import base_path
from unlearn_guard.unlearning.candidate import write_candidate

NAME = "model.layers.2.mlp.up_proj.weight"


@pytest.fixture
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(base_path(), dtype="auto")


def write(model: Any, out: Path) -> tuple[str, ...]:
    return write_candidate(model, base_path(), list(open_checkpoint(base_path()).names), out, {"method": "test"})


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
    write_candidate(
        AutoModelForCausalLM.from_pretrained(base_path(), dtype="auto"),
        tmp_path / "one",
        list(open_checkpoint(tmp_path / "one").names),
        tmp_path / "two",
        {"method": "second"},
    )
    assert json.loads((tmp_path / "two" / "unlearn_guard.json").read_text()) == {"method": "second"}
