"""Parameters that are stored in several tensors: the bytes named for each are those that transformers loads."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import write
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import blueprint, compare, open_checkpoint, parameters, with_parameters
from unlearn_guard.intake.blueprint import _patterns
from unlearn_guard.intake.conversion import assemble
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


@pytest.mark.parametrize("pattern", [r"block_sparse_moe\.old$", r"mlp\.old$"])
def test_what_a_class_skips_is_skipped_by_either_name(tmp_path: Path, pattern: str) -> None:
    """A file's own name, or the one that transformers gives it."""
    made = load_file(saved(tmp_path, "mixtral") / "model.safetensors")
    made["model.layers.0.block_sparse_moe.old"] = torch.zeros(1)
    save_file(made, tmp_path / "model.safetensors", metadata={"format": "pt"})
    plan = blueprint(tmp_path)
    with_parameters(open_checkpoint(tmp_path), replace(plan, ignorable=_patterns([pattern])))
    with pytest.raises(CheckpointError, match=r"moe\.old': found a tensor of shape \[1\]"):
        with_parameters(open_checkpoint(tmp_path), plan)


GATE, KEYS = "model.L_module.layers.0.mlp.gate_up_proj.weight", "model.H_module.layers.0.attn.gqkv_proj.weight"
MADE = {
    GATE: [f"model.L_module.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up")],
    KEYS: [f"model.H_module.layers.0.self_attn.{name}_proj.weight" for name in ("gate", "q", "k", "v")],
}


@pytest.fixture(scope="module")
def hrm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fused on disk, several parameters in the model."""
    return saved(tmp_path_factory.mktemp("hrm"), "hrm_text")


@pytest.mark.parametrize("stored", MADE)
def test_a_tensor_of_several_parameters_is_seen_in_each(hrm: Path, tmp_path: Path, stored: str) -> None:
    base = opened(hrm)
    made = load_file(hrm / "model.safetensors")
    rows = len(made[stored]) // len(MADE[stored])
    for at, name in enumerate(MADE[stored]):
        edited = {**made, stored: made[stored].clone()}
        edited[stored][at * rows + rows - 1, -1] += 1
        assert compare(base, opened(write_tensors(hrm, tmp_path / str(at), edited))).changed == (name,)


@pytest.mark.parametrize("stored", MADE)
def test_without_its_tensor_each_of_several_parameters_is_missing(hrm: Path, tmp_path: Path, stored: str) -> None:
    made = {name: tensor for name, tensor in load_file(hrm / "model.safetensors").items() if name != stored}
    with pytest.raises(CheckpointError) as caught:
        opened(write_tensors(hrm, tmp_path / "x", made))
    assert [each.where for each in caught.value.defects] == [f"tensor '{name}'" for name in sorted(MADE[stored])]
    assert {each.found for each in caught.value.defects} == {"nothing"}


def test_a_tensor_of_several_parameters_with_too_few_rows_is_one_defect(hrm: Path, tmp_path: Path) -> None:
    made = load_file(hrm / "model.safetensors")
    made[KEYS] = made[KEYS][:-4].clone()
    with pytest.raises(CheckpointError) as caught:
        opened(write_tensors(hrm, tmp_path / "x", made))
    assert [each.where for each in caught.value.defects] == [f"tensor '{MADE[KEYS][0]}'"]


def test_a_parameter_that_two_tensors_make_is_refused(hrm: Path, tmp_path: Path) -> None:
    """Which of them is loaded would depend on the order of names."""
    made = load_file(hrm / "model.safetensors")
    made[MADE[KEYS][2]] = made[KEYS][:1].expand(16, -1).clone()
    with pytest.raises(CheckpointError, match=r"k_proj\.weight': found two tensors that become it, the second '"):
        opened(write_tensors(hrm, tmp_path / "x", made))


def write_tensors(like: Path, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """The same directory with these tensors."""
    shutil.copytree(like, folder, dirs_exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_parameter_that_its_tensor_does_not_make_is_missing(hrm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(*given: Any) -> dict[str, list[StoredTensor]]:
        return dict(list(assemble(*given).items())[:1])

    monkeypatch.setattr(parameters, "assemble", first)
    with pytest.raises(CheckpointError) as caught:
        opened(hrm)
    assert {f"tensor '{name}'" for made in MADE.values() for name in made[1:]} <= {
        each.where for each in caught.value.defects
    }
