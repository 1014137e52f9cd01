"""Parameters that are stored in several tensors: the bytes named for each are those that transformers loads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import encode, write
from edited import numbers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import Concatenate, Transpose, WeightConverter

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Blueprint, blueprint, compare, open_checkpoint, parameters, with_parameters
from unlearn_guard.intake.intake import Intake
from unlearn_guard.records import StoredTensor

SIZES: dict[str, Any] = {
    **{"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8},
    **{"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 2, "num_experts": 2},
    **{"n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8},
}
EXPERT = "model.layers.0.block_sparse_moe.experts.0.w1.weight"


def saved(folder: Path, model_type: str, experts: int = 2) -> Path:
    torch.manual_seed(0)
    write(folder)
    AutoModelForCausalLM.from_config(
        AutoConfig.for_model(model_type, **{**SIZES, "num_experts": experts, "num_local_experts": experts})
    ).save_pretrained(folder)
    return folder


def read(tensor: StoredTensor) -> torch.Tensor:
    raw = b"".join(span.file.read_bytes()[span.start : span.stop] for span in tensor.spans)
    return torch.frombuffer(bytearray(raw), dtype=torch.float32).reshape(tensor.shape)


def opened(folder: Path) -> Intake:
    return with_parameters(open_checkpoint(folder))


@pytest.mark.parametrize(
    ("model_type", "experts", "spans"),
    [
        ("mixtral", 11, 22),
        ("ernie4_5_moe", 2, 4),
        ("inkling2_text", 2, 95),
    ],  # ten and more, and rows of one tensor interleaved
)
def test_the_bytes_of_a_parameter_are_those_that_transformers_loads(
    tmp_path: Path, model_type: str, experts: int, spans: int
) -> None:
    folder = saved(tmp_path, model_type, experts)
    found = opened(folder).checkpoint.tensors
    loaded = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert max(len(each.spans) for each in found) == spans
    assert {*loaded} - {each.name for each in found} <= {"lm_head.weight"}  # which may be tied
    for each in found:
        assert torch.equal(read(each), loaded[each.name]), each.name


def test_an_edit_of_one_expert_is_an_edit_of_the_parameter_that_holds_it(tmp_path: Path) -> None:
    base, other = saved(tmp_path / "base", "mixtral"), saved(tmp_path / "other", "mixtral")
    assert compare(opened(base), opened(other)).changed == ()
    made = load_file(other / "model.safetensors")
    made[EXPERT][0, 0] += 1
    save_file(made, other / "model.safetensors", metadata={"format": "pt"})
    assert compare(opened(base), opened(other)).changed == ("model.layers.0.mlp.experts.gate_up_proj",)


def test_experts_of_two_dtypes_a_lost_one_and_one_of_another_shape_are_named(tmp_path: Path) -> None:
    made = load_file(saved(tmp_path, "mixtral") / "model.safetensors")
    for change, said in (
        ({EXPERT: made[EXPERT].half()}, r"parts of different dtypes \(F16, F32\); expected one dtype"),
        ({EXPERT: made[EXPERT][:-1].clone()}, r"experts.gate_up_proj': found 4 parts that .*; expected shape"),
        (
            {EXPERT: None},
            r"experts.gate_up_proj': found 3 parts that fit no conversion of transformers: ",
        ),
    ):
        kept = {name: tensor for name, tensor in {**made, **change}.items() if tensor is not None}
        save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=said) as caught:
            opened(tmp_path)
        assert len(caught.value.defects) == 1


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    return blueprint(write(tmp_path_factory.mktemp("llama")))


def assembled(plan: Blueprint, folder: Path, operation: Any, *arrays: np.ndarray) -> list[StoredTensor]:
    """The parameter `made` of these arrays, by one of transformers' operations."""
    names = [f"part.{at}" for at in range(len(arrays))]
    (write(folder) / "model.safetensors").write_bytes(
        encode({name: numbers(array) for name, array in zip(names, arrays, strict=True)})
    )
    disk = open_checkpoint(folder).tensors
    converter = WeightConverter(source_patterns=names, target_patterns="made", operations=[operation])
    parts = [parameters._Part(tensor=each, converter=converter, pattern=each.name, renamed="made") for each in disk]
    return parameters._assemble("made", parts, plan)


def test_what_no_rows_can_show_stands_under_its_own_name(llama: Blueprint, tmp_path: Path) -> None:
    plan = replace(llama, shapes={"made": (2, 4, 3)})
    (found,) = assembled(plan, tmp_path, Transpose(1, 2), np.arange(24).reshape(2, 3, 4))
    assert (found.name, found.shape, len(found.spans)) == ("made|part.0", (2, 3, 4), 1)


def test_parts_side_by_side_are_compared_one_by_one(llama: Blueprint, tmp_path: Path) -> None:
    """Joined along their rows' length no run of bytes is a row of the whole."""
    plan = replace(llama, shapes={"made": (2, 5)})
    found = assembled(plan, tmp_path, Concatenate(dim=1), np.zeros((2, 2)), np.ones((2, 3)))
    assert [(each.name, each.shape) for each in found] == [("made|part.0", (2, 2)), ("made|part.1", (2, 3))]


def test_rows_of_parts_that_differ_in_number_are_told_apart(llama: Blueprint, tmp_path: Path) -> None:
    arrays = np.arange(6).reshape(3, 2), np.zeros((0, 2)), np.arange(6, 10).reshape(2, 2)
    plan = replace(llama, shapes={"made": (5, 2)})
    (found,) = assembled(plan, tmp_path, Concatenate(dim=0), *arrays)
    assert torch.equal(read(found), torch.arange(10, dtype=torch.float32).reshape(5, 2))
    assert len(found.spans) == 2


@pytest.mark.parametrize("pattern", [r"block_sparse_moe\.old$", r"mlp\.old$"])
def test_what_a_class_skips_is_skipped_by_either_name(tmp_path: Path, pattern: str) -> None:
    """A file's own name, or the one that transformers gives it."""
    made = load_file(saved(tmp_path, "mixtral") / "model.safetensors")
    made["model.layers.0.block_sparse_moe.old"] = torch.zeros(1)
    save_file(made, tmp_path / "model.safetensors", metadata={"format": "pt"})
    plan = blueprint(tmp_path)
    with_parameters(open_checkpoint(tmp_path), replace(plan, ignorable=parameters._patterns([pattern])))
    with pytest.raises(CheckpointError, match=r"moe\.old': found a tensor of shape \[1\]"):
        with_parameters(open_checkpoint(tmp_path), plan)
