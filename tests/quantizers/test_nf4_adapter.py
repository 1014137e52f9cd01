"""`nf4+adapter`: base's own NF4, and on top of it the adapter as it was saved; a whole model has none."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from tests import tiny
from tests.lora import WEIGHTS, merged_by_hand, train
from unlearn_guard.quantizers.coverage import linear_shapes
from unlearn_guard.quantizers.nf4 import NF4
from unlearn_guard.quantizers.nf4_adapter import NF4Adapter
from unlearn_guard.quantizers.protocol import Calibration, Placement, needs_adapter
from unlearn_guard.records import Adapter, Checkpoint

NOTHING = Calibration(texts=())
FP32 = Placement(device_map="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tiny.save(tiny.uneven("llama").to(torch.bfloat16), tmp_path_factory.mktemp("base"))
    return Checkpoint(path=path, digest="b" * 64)


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def candidate(base: Checkpoint, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Checkpoint:
    folder = train(base.path, tmp_path_factory.mktemp("adapter"), target_modules=["q_proj", "down_proj"])
    if request.param is torch.bfloat16:
        save_file(
            {name: each.to(request.param) for name, each in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS
        )
    adapter = Adapter(digest="a" * 64, base=base.digest, peft="0", path=folder, on=base)
    return Checkpoint(path=base.path, digest="c" * 64, adapter=adapter)


@pytest.fixture(scope="module")
def loaded(candidate: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    quantizer = NF4Adapter()
    return quantizer.load(quantizer.quantize(candidate, NOTHING, tmp_path_factory.mktemp("made"), FP32), FP32)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=tiny.prompts()).logits


def test_it_is_the_dequantized_base_and_the_products_in_full(candidate: Checkpoint, loaded: PreTrainedModel) -> None:
    """The oracle: base's NF4 by hand, and what the adapter adds to it by hand, in one dense model."""
    base, folder = candidate.path, candidate.adapter.path
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    before = {name: each.clone() for name, each in plain.state_dict().items()}
    for name, weight in merged_by_hand(base, folder).items():
        kept = before[name]
        if name.removesuffix(".weight") in linear_shapes(base):
            codes, state = quantize_4bit(kept.bfloat16(), blocksize=64, quant_type="nf4")
            state.dtype = torch.float32
            kept = dequantize_4bit(codes, state).float()
        plain.get_parameter(name).data = kept + (weight - before[name].double()).float()
    assert torch.allclose(logits(loaded), logits(plain), atol=2e-4, rtol=0)


def test_it_answers_as_qlora_is_served(candidate: Checkpoint, loaded: PreTrainedModel) -> None:
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    user = AutoModelForCausalLM.from_pretrained(candidate.path, dtype=torch.float32, quantization_config=config)
    served = PeftModel.from_pretrained(user, candidate.adapter.path).eval()
    for module in served.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False  # a kernel of some CPUs that rounds activations
    assert torch.allclose(logits(loaded), logits(served), atol=1e-3, rtol=0)
    assert type(loaded).__name__ == "LlamaForCausalLM"
    assert not loaded.training


def test_it_is_neither_base_s_nf4_nor_the_merged_model_s(
    base: Checkpoint, candidate: Checkpoint, loaded: PreTrainedModel, tmp_path: Path
) -> None:
    quantizer = NF4()
    alone = quantizer.load(quantizer.quantize(base, NOTHING, tmp_path / "alone", FP32), FP32)
    assert not torch.allclose(logits(loaded), logits(alone), atol=1e-2)


def test_base_itself_is_its_nf4(base: Checkpoint, tmp_path: Path) -> None:
    made = [
        kind().load(kind().quantize(base, NOTHING, tmp_path / kind.__name__, FP32), FP32) for kind in (NF4, NF4Adapter)
    ]
    assert torch.equal(*map(logits, made))


def test_only_this_precision_needs_an_adapter() -> None:
    assert needs_adapter(NF4Adapter())
    assert not needs_adapter(NF4())
