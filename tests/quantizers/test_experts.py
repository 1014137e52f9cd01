"""The experts of a mixture are in NF4: what the model computes is what the dequantized codes compute."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests import tiny
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import Checkpoint

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
