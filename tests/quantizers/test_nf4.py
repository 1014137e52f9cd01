"""The NF4 checkpoint holds bitsandbytes' own codes, and computes in the dtype asked for."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers import nf4
from unlearn_guard.quantizers.coverage import linear_shapes
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import Checkpoint

NOTHING = Calibration(texts=())


@pytest.fixture(scope="module")
def quantized(source: Checkpoint, placement: Placement, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return NF4().quantize(source, NOTHING, tmp_path_factory.mktemp("nf4"), placement)


def dense(source: Checkpoint) -> torch.nn.Module:
    """The oracle: an ordinary fp32 model whose linear weights went through bitsandbytes' NF4 and back, one by one."""
    model = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32).eval()
    for name in linear_shapes(source.path):
        weight = model.get_submodule(name).weight
        codes, state = quantize_4bit(weight.data, blocksize=64, quant_type="nf4")
        weight.data = dequantize_4bit(codes, state)
    return model


def test_every_linear_layer_but_the_head_is_quantized(source: Checkpoint) -> None:
    shapes = linear_shapes(source.path)
    assert len(shapes) == 2 * 7
    assert "lm_head" not in shapes
    assert shapes["model.layers.0.self_attn.k_proj"] == (64, 128)
    assert shapes["model.layers.1.mlp.down_proj"] == (128, 256)


def test_logits_are_those_of_the_dequantized_weights_in_fp32(
    source: Checkpoint, quantized: Checkpoint, placement: Placement, prompts: torch.Tensor
) -> None:
    with torch.inference_mode():
        expected = dense(source)(prompts).logits
        found = NF4().load(quantized, placement)(prompts).logits
    assert found.dtype is torch.float32
    assert torch.allclose(found, expected, atol=1e-5, rtol=0)


def test_weights_are_rounded_first_where_a_user_s_loading_does(source: Checkpoint, tmp_path: Path) -> None:
    """The codes of the weights in bf16, as `from_pretrained(dtype=torch.bfloat16, load_in_4bit)` chooses them."""
    placement = Placement(device_map="cpu", dtype=torch.bfloat16, cast=torch.bfloat16)
    made = load_file(NF4().quantize(source, NOTHING, tmp_path, placement).path / "model.safetensors")
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    user = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.bfloat16, quantization_config=config)
    for name in linear_shapes(source.path):
        weight = user.get_submodule(name).weight
        assert torch.equal(made[f"{name}.weight"].flatten(), weight.data.flatten())
        assert torch.equal(made[f"{name}.weight.absmax"], weight.quant_state.absmax)


def test_products_in_one_dtype_and_the_rest_in_another(quantized: Checkpoint, prompts: torch.Tensor) -> None:
    """By hand: each layer's input and dequantized weight are rounded to bf16, and its output goes on in fp32."""
    placement = Placement(device_map="cpu", dtype=torch.float32, compute=torch.bfloat16)
    model = NF4().load(quantized, placement)
    seen: dict[str, torch.Tensor] = {}
    layer = model.model.layers[0].mlp.up_proj
    layer.register_forward_hook(lambda _, given, out: seen.update(given=given[0], out=out))
    with torch.inference_mode():
        assert model(prompts).logits.dtype is torch.float32
    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).bfloat16()
    expected = (seen["given"].bfloat16() @ weight.T).float()
    assert seen["given"].dtype is seen["out"].dtype is torch.float32
    assert not torch.equal(seen["given"], seen["given"].bfloat16().float())
    assert torch.allclose(seen["out"], expected, atol=1e-2, rtol=1e-2)
    assert torch.equal(seen["out"], seen["out"].bfloat16().float())


def test_a_second_forward_gives_the_same_logits(
    quantized: Checkpoint, placement: Placement, prompts: torch.Tensor
) -> None:
    model = NF4().load(quantized, placement)
    with torch.inference_mode():
        assert torch.equal(model(prompts).logits, model(prompts).logits)


def test_quantizing_twice_gives_the_same_bytes(
    source: Checkpoint, quantized: Checkpoint, placement: Placement, out: Path
) -> None:
    assert NF4().quantize(source, NOTHING, out, placement).digest == quantized.digest


def test_precision_and_method_are_recorded(source: Checkpoint, quantized: Checkpoint) -> None:
    assert quantized.precision == "nf4"
    assert quantized.method == source.method


def test_a_changed_code_is_noticed(source: Checkpoint, quantized: Checkpoint, out: Path) -> None:
    tensors = load_file(quantized.path / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3] ^= 1
    save_file(tensors, out / "model.safetensors")
    with pytest.raises(QuantizationError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        nf4._assert_codes(source, out)


def test_a_changed_norm_is_noticed(source: Checkpoint, quantized: Checkpoint, out: Path) -> None:
    tensors = load_file(quantized.path / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, out / "model.safetensors")
    with pytest.raises(QuantizationError, match=r"model\.norm\.weight"):
        nf4._assert_codes(source, out)


def test_a_layer_left_in_full_precision_is_an_error(source: Checkpoint, placement: Placement, out: Path) -> None:
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["lm_head", "model.layers.0.mlp.up_proj"]
    )
    AutoModelForCausalLM.from_pretrained(source.path, quantization_config=config, device_map="cpu").save_pretrained(out)
    with pytest.raises(QuantizationError, match=r"model\.layers\.0\.mlp\.up_proj"):
        nf4._assert_codes(source, out)
    with pytest.raises(QuantizationError, match=r"1 linear layers are not in nf4: model\.layers\.0\.mlp\.up_proj"):
        NF4().load(Checkpoint(path=out, digest="1" * 64, precision="nf4"), placement)


def test_fp4_is_not_nf4(source: Checkpoint, placement: Placement, out: Path) -> None:
    config = BitsAndBytesConfig(load_in_4bit=True)  # FP4, as SURE's published evaluation loads it
    AutoModelForCausalLM.from_pretrained(source.path, quantization_config=config, device_map="cpu").save_pretrained(out)
    with pytest.raises(QuantizationError, match="fp4"):
        NF4().load(Checkpoint(path=out, digest="1" * 64, precision="nf4"), placement)


def test_a_full_precision_directory_is_not_nf4(source: Checkpoint, placement: Placement) -> None:
    with pytest.raises(QuantizationError, match="without a single 4-bit layer"):
        NF4().load(source, placement)
