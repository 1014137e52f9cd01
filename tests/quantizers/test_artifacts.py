"""Ready-made models: judged in every spelling that tools write, refused where they are something else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests import tiny
from unlearn_guard.errors import UsageError
from unlearn_guard.quantizers.artifacts import assert_artifact, assert_recipe, layout_of, recipe_of
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.share import quantized_share, stored_bytes
from unlearn_guard.records import Checkpoint

NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32}
AWQ = {"quant_method": "awq", "bits": 4, "version": "gemm"}


W4A16 = {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 128}}
COMPRESSED = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": W4A16}}


@pytest.mark.parametrize(
    ("precision", "recipe"),
    [
        ("nf4", NF4),
        ("nf4", {"_load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
        ("gptq", GPTQ),
        ("gptq", {"bits": 4, "group_size": 128, "desc_act": True, "sym": False, "damp_percent": 0.01}),
        ("gptq", GPTQ | {"checkpoint_format": "gptq_v2"}),
        ("gptq", GPTQ | {"format": "gptq_v2"}),
        ("gptq", GPTQ | {"format": "gptq", "checkpoint_format": "gptq"}),
        ("awq", AWQ),
        ("awq", {"w_bit": 4, "q_group_size": 128, "version": "GEMM", "zero_point": True}),
        ("gptq", COMPRESSED),
        ("awq", COMPRESSED),
        ("a_plugin", {"bits": 8}),
    ],
)
def test_recipes_that_are_meant(precision: str, recipe: dict[str, object]) -> None:
    assert_recipe(precision, recipe, "here")


@pytest.mark.parametrize(
    ("precision", "recipe", "where", "found"),
    [
        ("nf4", NF4 | {"bnb_4bit_quant_type": "fp4"}, "bnb_4bit_quant_type", "fp4"),
        ("nf4", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb_4bit_quant_type", "fp4"),
        ("nf4", {"quant_method": "bitsandbytes", "load_in_8bit": True}, "load_in_4bit", "8 bits"),
        ("nf4", GPTQ, "quant_method", "gptq"),
        ("gptq", GPTQ | {"bits": 8}, "bits", "8"),
        ("gptq", GPTQ | {"bits": 3}, "bits", "3"),
        ("gptq", {"quant_method": "gptq"}, "bits", "nothing"),
        ("gptq", GPTQ | {"bits": "4"}, "bits", "'4'"),
        ("gptq", AWQ, "quant_method", "awq"),
        ("gptq", GPTQ | {"checkpoint_format": "marlin"}, "checkpoint_format", "marlin"),
        ("gptq", GPTQ | {"is_marlin_format": True}, "checkpoint_format", "marlin"),
        ("gptq", GPTQ | {"checkpoint_format": "gptq", "format": "gptq_v2"}, "checkpoint_format and", "gptq_v2"),
        ("awq", AWQ | {"bits": 8}, "bits", "8"),
        ("awq", AWQ | {"version": "gemv"}, "checkpoint_format", "gemv"),
        ("awq", {"quant_method": "compressed-tensors"}, "format", "nothing"),
        ("awq", COMPRESSED | {"format": "nvfp4-pack-quantized"}, "format", "nvfp4-pack-quantized"),
        ("gptq", COMPRESSED | {"config_groups": {"g": {"weights": {"num_bits": 8, "type": "int"}}}}, "g: w", "8"),
        ("gptq", COMPRESSED | {"config_groups": {"g": {"weights": {"num_bits": 4, "type": "float"}}}}, "g: w", "float"),
        ("gptq", COMPRESSED | {"config_groups": {"g": W4A16 | {"input_activations": {"num_bits": 8}}}}, "input", "8"),
        ("gptq", COMPRESSED | {"transform_config": {"R1": {}}}, "transform_config", "R1"),
        ("gptq", {"quant_method": "compressed-tensors", "format": "pack-quantized"}, "config_groups", "nothing"),
        ("awq", None, "quantization_config", "no recipe"),
    ],
)
def test_recipes_of_something_else(precision: str, recipe: dict[str, object] | None, where: str, found: str) -> None:
    with pytest.raises(UsageError, match=f"here cannot be judged at {precision}") as caught:
        assert_recipe(precision, recipe, "here")
    assert any(where in each.where and found in each.found for each in caught.value.defects)


@pytest.mark.parametrize("name", ["quantize_config.json", "quant_config.json"])
def test_a_recipe_beside_the_config_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert recipe_of(tmp_path) is None
    (tmp_path / name).write_text(json.dumps(GPTQ))
    assert recipe_of(tmp_path) == GPTQ
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": AWQ}))
    assert recipe_of(tmp_path) == AWQ
    assert layout_of(AWQ) == "gemm"


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """In fp32: loading it in half precision rounds."""
    return Checkpoint(path=tiny.save(tiny.build("llama"), tmp_path_factory.mktemp("candidate")), digest="0" * 64)


FORMATS = {
    "fp4": {"bnb_4bit_quant_type": "fp4"},
    "nf4-dq": {"bnb_4bit_use_double_quant": True},
    "int8": {"load_in_4bit": False, "load_in_8bit": True},
}


def quantized(source: Path, out: Path, dtype: torch.dtype | str = "auto", **options: object) -> Checkpoint:
    """As a user of transformers makes it."""
    config = BitsAndBytesConfig(**{"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} | options)
    AutoModelForCausalLM.from_pretrained(source, quantization_config=config, dtype=dtype).save_pretrained(out)
    tiny.tokenizer().save_pretrained(out)
    return Checkpoint(path=out, digest="1" * 64, precision="nf4")


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("auto", {}),
        (torch.bfloat16, {}),
        (torch.float16, {}),
        (torch.bfloat16, {"bnb_4bit_use_double_quant": True}),
        ("auto", {"bnb_4bit_use_double_quant": True}),
        (torch.bfloat16, {"bnb_4bit_quant_storage": torch.bfloat16}),
    ],
)
def test_the_candidate_s_own_nf4_is_known_however_it_was_made(
    dtype: torch.dtype | str, options: dict[str, object], candidate: Checkpoint, tmp_path: Path
) -> None:
    made = quantized(candidate.path, tmp_path, dtype, **options)
    assert assert_artifact("nf4", made, candidate, "here")
    assert (
        quantized_share(stored_bytes(made.path), coverage(candidate.path), 4)
        == (2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96),) * 2
    )


@pytest.mark.parametrize("dtype", ["auto", torch.bfloat16, torch.float16])
@pytest.mark.parametrize("precision", sorted(FORMATS))
def test_every_format_of_bitsandbytes_is_known_and_another_model_s_refused(
    precision: str, dtype: torch.dtype | str, candidate: Checkpoint, tmp_path: Path
) -> None:
    made = quantized(candidate.path, tmp_path / "made", dtype, **FORMATS[precision])
    assert assert_artifact(precision, made, candidate, "here")
    tensors = load_file(made.path / "model.safetensors")
    for change in (norm, lambda held: held["model.layers.1.mlp.up_proj.weight"].view(torch.int8).neg_()):
        planted = {name: tensor.clone() for name, tensor in tensors.items()}
        change(planted)
        save_file(planted, made.path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UsageError, match=r"was not made from the candidate\n.*model\.layers\.1"):
            assert_artifact(precision, made, candidate, "here")


@pytest.mark.parametrize("precision", ["fp4", "nf4-dq", "int8"])
def test_one_format_is_not_another(precision: str, candidate: Checkpoint, tmp_path: Path) -> None:
    made = quantized(candidate.path, tmp_path)  # nf4
    with pytest.raises(UsageError, match=f"cannot be judged at {precision}"):
        assert_artifact(precision, made, candidate, "here")


@pytest.mark.parametrize("double", [False, True])
def test_another_model_s_nf4_is_refused(double: bool, candidate: Checkpoint, tmp_path: Path) -> None:
    """The same embeddings and head: the layers alone tell them apart."""
    other = tiny.build("llama", seed=1)
    own = AutoModelForCausalLM.from_pretrained(candidate.path)
    other.set_input_embeddings(own.get_input_embeddings())
    other.set_output_embeddings(own.get_output_embeddings())
    tiny.save(other, tmp_path / "other")
    made = quantized(tmp_path / "other", tmp_path / "made", bnb_4bit_use_double_quant=double)
    with pytest.raises(UsageError, match="here was not made from the candidate") as caught:
        assert_artifact("nf4", made, candidate, "here")
    assert "codes" in str(caught.value)


def code(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"][7] ^= 0x30


def scale(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight.absmax"][3] *= 1.01


def levels(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight.quant_map"][3] *= 1.01


def norm(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.input_layernorm.weight"][3] += 0.5


@pytest.mark.parametrize("change", [code, scale, levels, norm])
def test_one_number_of_another_model_is_enough(
    change: Callable[[dict[str, Tensor]], None], candidate: Checkpoint, tmp_path: Path
) -> None:
    made = quantized(candidate.path, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"was not made from the candidate\n.*model\.layers\.1"):
        assert_artifact("nf4", made, candidate, "here")


def test_a_layer_left_out_is_refused_by_name(candidate: Checkpoint, tmp_path: Path) -> None:
    made = quantized(candidate.path, tmp_path, llm_int8_skip_modules=["lm_head", "model.layers.1.mlp.down_proj"])
    with pytest.raises(UsageError, match=r"not all of it in nf4\n.*model\.layers\.1\.mlp\.down_proj"):
        assert_artifact("nf4", made, candidate, "here")
    packed, total = quantized_share(stored_bytes(made.path), coverage(candidate.path), 4) or (0, 0)
    assert total - packed == 64 * 96


def test_a_mixture_whose_experts_stayed_is_refused(tmp_path: Path) -> None:
    source = tiny.save(tiny.build("gpt_oss"), tmp_path / "source")
    made = quantized(source, tmp_path / "made")
    with pytest.raises(UsageError, match=r"not all of it in nf4\n.*model\.layers\.0\.mlp\.experts\.gate_up_proj"):
        assert_artifact("nf4", made, Checkpoint(path=source, digest="0" * 64), "here")
    packed, total = quantized_share(stored_bytes(made.path), coverage(source), 4) or (0, 0)
    assert 0 < packed / total < 0.3


def test_eight_bits_under_a_recipe_of_four_are_refused(candidate: Checkpoint, tmp_path: Path) -> None:
    """A `qweight` of twice the size, whatever config.json says."""
    shutil.copytree(candidate.path, tmp_path / "made")
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    (tmp_path / "made" / "config.json").write_text(json.dumps(config | {"quantization_config": GPTQ}))
    shapes = coverage(candidate.path).linears
    for bits, refused in ((4, False), (8, True)):
        codes = {
            f"{name}.qweight": torch.zeros(width * bits // 32, out, dtype=torch.int32)
            for name, (out, width) in shapes.items()
        }
        save_file(codes, tmp_path / "made" / "model.safetensors")
        made = Checkpoint(path=tmp_path / "made", digest="1" * 64)
        if refused:
            with pytest.raises(UsageError, match="not all of it in gptq"):
                assert_artifact("gptq", made, candidate, "here")
        else:
            assert not assert_artifact("gptq", made, candidate, "here")  # not refused, and not proved either
