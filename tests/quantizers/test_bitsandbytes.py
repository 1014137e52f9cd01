"""FP4, double quantization and LLM.int8() hold the library's own codes and compute with them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests import tiny
from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers import int8
from unlearn_guard.quantizers.coverage import coverage, refusals
from unlearn_guard.quantizers.fp4 import FP4
from unlearn_guard.quantizers.int8 import Int8
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.nf4_dq import NF4DQ
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.quantizers.share import quantized_share, stored_bytes
from unlearn_guard.records import Checkpoint

NOTHING = Calibration(texts=())


def source_of(family: str, folder: Path) -> Checkpoint:
    tiny.uneven(family).to(torch.bfloat16).save_pretrained(folder)
    return Checkpoint(path=folder, digest="0" * 64)


@pytest.mark.parametrize("form", [FP4(), NF4DQ()], ids=lambda form: form.name)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_logits_are_those_of_the_dequantized_weights(
    form: NF4, family: str, placement: Placement, tmp_path: Path
) -> None:
    """The oracle: a dense fp32 model whose linear weights went through the library's two functions, one by one."""
    source = source_of(family, tmp_path / "source")
    (tmp_path / "out").mkdir()
    made = form.quantize(source, NOTHING, tmp_path / "out", placement)
    found, dense = coverage(source.path), AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32).eval()
    for layer in found.linears:
        held, turned = dense.get_submodule(layer).weight, layer in found.transposed
        weight = (held.data.T if turned else held.data).contiguous()
        codes, state = quantize_4bit(weight, blocksize=64, quant_type=form.levels, compress_statistics=form.double)
        rounded = dequantize_4bit(codes, state)
        held.data = rounded.T if turned else rounded
    prompts = tiny.prompts()
    with torch.no_grad():
        assert torch.allclose(form.load(made, placement)(prompts).logits, dense(prompts).logits, atol=2e-5)
    assert quantized_share(stored_bytes(made.path), found, 4) == (found.total, found.total)


def user_s(source: Checkpoint, out: Path, **options: Any) -> Path:
    config = BitsAndBytesConfig(**options)
    AutoModelForCausalLM.from_pretrained(source.path, quantization_config=config, device_map="cpu").save_pretrained(out)
    return out


@pytest.mark.parametrize(
    ("form", "options", "said"),
    [
        (FP4(), {"bnb_4bit_quant_type": "nf4"}, "nf4 weights where fp4"),
        (NF4DQ(), {"bnb_4bit_quant_type": "nf4"}, r"nf4 \(scales in fp32\) weights where nf4-dq"),
        (NF4DQ(), {"bnb_4bit_use_double_quant": True}, "fp4 weights where nf4-dq"),
    ],
)
def test_another_four_bit_format_is_refused(
    form: NF4, options: dict[str, Any], said: str, source: Checkpoint, placement: Placement, out: Path
) -> None:
    made = Checkpoint(path=user_s(source, out, load_in_4bit=True, **options), digest="1" * 64)
    with pytest.raises(QuantizationError, match=said):
        form.load(made, placement)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_int8_by_the_literal_rule(family: str, placement: Placement, tmp_path: Path) -> None:
    """Activations of a row to 127 levels, codes times codes in integers: what the library computes with no outlier."""
    source = source_of(family, tmp_path / "source")
    (tmp_path / "out").mkdir()
    made = Int8().quantize(source, NOTHING, tmp_path / "out", placement)
    model, found = Int8().load(made, placement), coverage(source.path)
    layer = next(iter(found.linears))
    module, seen = model.get_submodule(layer), {}
    module.register_forward_hook(lambda _, given, out: seen.update(given=given[0], out=out))
    with torch.no_grad():
        assert model(tiny.prompts()).logits.isfinite().all()
    codes, scales = (load_file(made.path / "model.safetensors")[f"{layer}.{end}"] for end in ("weight", "SCB"))
    rows = seen["given"].half().float()
    assert rows.abs().max() < 6
    largest = rows.abs().amax(-1, keepdim=True)
    products = (rows * 127 / largest).round() @ codes.float().T
    bias = module.bias.float() if module.bias is not None else 0
    expected = products * largest * scales.float() / 127**2 + bias
    assert torch.allclose(seen["out"].float(), expected, atol=0.02, rtol=0.02)
    assert quantized_share(stored_bytes(made.path), found, 8) == (found.total, found.total)


def test_a_changed_8_bit_code_is_noticed(source: Checkpoint, placement: Placement, out: Path) -> None:
    made = Int8().quantize(source, NOTHING, out, placement)
    tensors = load_file(made.path / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] ^= 64
    save_file(tensors, made.path / "model.safetensors")
    with pytest.raises(QuantizationError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        int8._assert_codes(source, made.path, "auto")


def test_a_model_in_full_precision_is_not_int8(source: Checkpoint, placement: Placement) -> None:
    with pytest.raises(QuantizationError, match="without a single 8-bit layer"):
        Int8().load(source, placement)


@pytest.mark.parametrize("precision", ["fp4", "nf4-dq", "int8", "rtn4", "fp8", "mxfp4", "nvfp4"])
def test_stacked_experts_are_refused_where_they_would_be_left_out(precision: str, tmp_path: Path) -> None:
    tiny.build("gpt_oss").config.save_pretrained(tmp_path)
    assert any("experts" in each.found for each in refusals(tmp_path, precision))
