"""The experts of a mixture are in NF4: what the model computes is what the dequantized codes compute."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests import tiny
from unlearn_guard.attribution.linear import make_dense
from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers import experts, nf4
from unlearn_guard.quantizers.coverage import coverage, coverage_of
from unlearn_guard.quantizers.drift import measure
from unlearn_guard.quantizers.layers import load_model
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import Checkpoint
from unlearn_guard.unlearning.tensors import linears

NOTHING = Calibration(texts=())
MIXTURES = ("mixtral", "qwen3_moe", "gpt_oss", "granitemoe")


def stored(family: str, out: Path, dtype: torch.dtype = torch.bfloat16, **more: object) -> Checkpoint:
    model = tiny.build(family, **more).to(dtype)
    return Checkpoint(path=tiny.save(model, out, save_original_format=False), digest="0" * 64)


def there_and_back(weight: Tensor) -> Tensor:
    return dequantize_4bit(*quantize_4bit(weight.contiguous(), blocksize=64, quant_type="nf4"))


@torch.no_grad()
def dense(source: Checkpoint) -> PreTrainedModel:
    """The oracle: the fp32 model after every linear weight and every expert's matrix went through NF4, one by one."""
    model = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32).eval()
    found = coverage(source.path)
    for name, weight in model.named_parameters():
        if name.removesuffix(".weight") in found.transposed:
            weight.copy_(there_and_back(weight.T).T)
        elif name.removesuffix(".weight") in found.linears:
            weight.copy_(there_and_back(weight))
        elif name in found.experts:
            weight.copy_(torch.stack([there_and_back(expert) for expert in weight]))
    return model


@pytest.mark.parametrize("family", [*MIXTURES, "gpt2"])
def test_logits_are_those_of_the_dequantized_weights(family: str, placement: Placement, tmp_path: Path) -> None:
    source = stored(family, tmp_path / "source")
    quantized = NF4().quantize(source, NOTHING, tmp_path / "nf4", placement)
    with torch.inference_mode():
        expected = dense(source)(tiny.prompts()).logits
        found = NF4().load(quantized, placement)(tiny.prompts()).logits
    assert torch.allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", MIXTURES)
def test_every_expert_is_packed_and_no_file_holds_it_in_full_precision(
    family: str, placement: Placement, tmp_path: Path
) -> None:
    source = stored(family, tmp_path / "source")
    NF4().quantize(source, NOTHING, tmp_path / "nf4", placement)
    names = set(coverage(source.path).experts)
    assert len(names) == 2 * 2
    packed = load_file(tmp_path / "nf4" / experts.FILE)
    assert set(packed) == names | {f"{name}.absmax" for name in names}
    assert {packed[name].dtype for name in names} == {torch.uint8}
    assert not names & set(load_file(tmp_path / "nf4" / "model.safetensors"))


def test_a_matrix_that_no_block_divides_is_packed_alone(tmp_path: Path, placement: Placement) -> None:
    """Four experts of 36 x 20: 720 weights in 11 blocks and a rest of 16, which no other expert's weight shares."""
    source = stored("mixtral", tmp_path / "source", hidden_size=36, intermediate_size=20, head_dim=8)
    quantized = NF4().quantize(source, NOTHING, tmp_path / "nf4", placement)
    packed = load_file(quantized.path / experts.FILE)
    name = "model.layers.0.mlp.experts.down_proj"
    assert packed[name].shape == (4, 360)
    assert packed[f"{name}.absmax"].shape == (4, 12)
    with torch.inference_mode():
        found = NF4().load(quantized, placement)(tiny.prompts()).logits
        assert torch.allclose(found, dense(source)(tiny.prompts()).logits, atol=1e-4, rtol=0)


def test_hand_worked_codes() -> None:
    """Of 1, -1, 0.5 and 0 with scale 1: level 15, level 0, the level nearest 0.5 (0.4407 is 12, 0.5626 is 13), level 7.

    0.5017 lies half-way between the two, so 0.5 takes 12. Two codes a byte, the first in the upper half.
    """
    weight = torch.tensor([[[1.0, -1.0], [0.5, 0.0]], [[2.0, -2.0], [1.0, 0.0]]])
    codes, absmax = experts.pack(weight)
    assert codes.tolist() == [[0xF0, 0xC7]] * 2
    assert absmax.tolist() == [[1.0], [2.0]]
    assert experts.unpack(codes, absmax, (2, 2, 2), torch.float32)[1, 1].tolist() == pytest.approx([0.88142, 0.0])


def spoilt(
    source: Checkpoint, out: Path, placement: Placement, change: Callable[[dict[str, Tensor]], object]
) -> Checkpoint:
    """A quantized mixture in whose packed experts something is changed."""
    quantized = NF4().quantize(source, NOTHING, out, placement)
    tensors = load_file(out / experts.FILE)
    change(tensors)
    (out / experts.FILE).unlink()
    if tensors:
        save_file(tensors, out / experts.FILE)
    return quantized


NAME = "model.layers.1.mlp.experts.down_proj"


def test_a_changed_code_or_scale_of_an_expert_is_noticed(placement: Placement, tmp_path: Path) -> None:
    source = stored("mixtral", tmp_path / "source")

    def code(tensors: dict[str, Tensor]) -> None:
        tensors[NAME][3, 5] ^= 1

    def scale(tensors: dict[str, Tensor]) -> None:
        tensors[f"{NAME}.absmax"][0, 0] *= 2

    for number, change in enumerate((code, scale)):
        bad = spoilt(source, tmp_path / f"bad{number}", placement, change)
        with pytest.raises(QuantizationError, match=r"layers\.1\.mlp\.experts\.down_proj"):
            nf4._assert_codes(source, bad.path)


def test_experts_that_are_not_there_are_never_random(placement: Placement, tmp_path: Path) -> None:
    """transformers would fill them with random numbers and go on."""
    source = stored("mixtral", tmp_path / "source")
    missing = spoilt(source, tmp_path / "missing", placement, lambda tensors: tensors.pop(NAME))
    with pytest.raises(QuantizationError):
        NF4().load(missing, placement)
    no_scale = spoilt(source, tmp_path / "scale", placement, lambda tensors: tensors.pop(f"{NAME}.absmax"))
    with pytest.raises(QuantizationError, match="1 stacks of experts are not in nf4"):
        NF4().load(no_scale, placement)
    none = spoilt(source, tmp_path / "none", placement, lambda tensors: tensors.clear())
    with pytest.raises(QuantizationError, match="4 stacks of experts are not in nf4"):
        NF4().load(none, placement)


def test_a_parameter_that_transformers_does_not_find_is_an_error(placement: Placement, tmp_path: Path) -> None:
    source = tiny.save(tiny.build("llama"), tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuantizationError, match=r"did not load 1 of its parameters: model\.layers\.1\.mlp\.up_proj"):
        load_model(source, placement)


def test_an_expert_is_unpacked_once_a_pass(placement: Placement, tmp_path: Path, monkeypatch) -> None:
    quantized = NF4().quantize(stored("gpt_oss", tmp_path / "source"), NOTHING, tmp_path / "nf4", placement)
    model, calls = NF4().load(quantized, placement), []
    real = experts.unpack
    monkeypatch.setattr(experts, "unpack", lambda *arguments: calls.append(1) or real(*arguments))
    with torch.inference_mode():
        first, second = model(tiny.prompts()).logits, model(tiny.prompts()).logits
    assert len(calls) == 2 * 4
    assert torch.equal(first, second)


def test_an_unpacked_model_computes_the_same(placement: Placement, tmp_path: Path) -> None:
    quantized = NF4().quantize(stored("mixtral", tmp_path / "source"), NOTHING, tmp_path / "nf4", placement)
    model = NF4().load(quantized, placement)
    with torch.inference_mode():
        before = model(tiny.prompts()).logits
    assert NAME in make_dense(model)
    assert model.get_parameter(NAME).shape == (4, 64, 96)
    with torch.inference_mode():
        assert torch.allclose(model(tiny.prompts()).logits, before, atol=1e-5)


def test_the_drift_counts_experts(tmp_path: Path) -> None:
    """One weight of one expert is put into another cell: it alone has changed and flipped, of all weights."""
    base = stored("mixtral", tmp_path / "base")
    tensors = load_file(base.path / "model.safetensors")
    own = tensors[NAME][2, 0, :64]
    place = int(own.abs().argmin())
    own[place] = own.abs().max() * 0.5
    moved = tmp_path / "moved"
    tiny.tokenizer().save_pretrained(moved)
    save_file(tensors, moved / "model.safetensors", metadata={"format": "pt"})
    (moved / "config.json").write_bytes((base.path / "config.json").read_bytes())
    found = measure(base, Checkpoint(path=moved, digest="1" * 64), lambda _: None)
    (experts,) = (each for each in found.layers if each.layer == NAME)
    assert (experts.changed, experts.flipped, experts.weights) == (1, 1, 4 * 64 * 96)
    assert found.changed == 1


@pytest.mark.parametrize("family", [*MIXTURES, "llama"])
def test_what_methods_train_is_what_is_quantized(family: str) -> None:
    model = tiny.build(family)
    assert set(linears(model)) == set(coverage_of(model).units)
