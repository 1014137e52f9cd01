"""GPTQ and AWQ by gptqmodel: what its log must say, and what it really makes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers import worker
from unlearn_guard.quantizers.awq import AWQ
from unlearn_guard.quantizers.coverage import linear_shapes
from unlearn_guard.quantizers.gptq import GPTQ
from unlearn_guard.quantizers.gptqmodel import GPTQModelQuantizer, assert_no_fallback
from unlearn_guard.quantizers.layers import directory_tensors, load_model
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import Checkpoint

SHAPES = {
    "model.layers.0.self_attn.v_proj": (64, 128),
    "model.layers.0.self_attn.o_proj": (128, 128),
    "model.layers.0.mlp.up_proj": (256, 128),
}


def log(method: str = "gptq", **losses: str) -> list[dict[str, str]]:
    values = {"self_attn.v_proj": "0.1", "self_attn.o_proj": "0.2", "mlp.up_proj": "0.3"}
    values |= {name.replace("__", "."): loss for name, loss in losses.items()}
    return [{"process": method, "layer": "0", "module": name, "loss": loss} for name, loss in values.items()]


def test_a_clean_log_passes() -> None:
    assert_no_fallback("gptq", log(), SHAPES)


@pytest.mark.parametrize(
    "loss", ["fallback(rtn): 0.0000123", "rtn fallback", "999999999", "nan", "inf", "not applicable"]
)
def test_a_word_of_a_fallback_is_an_error(loss: str) -> None:
    with pytest.raises(
        QuantizationError, match=r"fell back to plain rounding in 1 layers: model\.layers\.0\.mlp\.up_proj"
    ):
        assert_no_fallback("gptq", log(mlp__up_proj=loss), SHAPES)


def test_awq_has_nothing_to_scale_where_value_heads_are_grouped() -> None:
    grouped = log("awq", self_attn__o_proj="not applicable")
    assert_no_fallback("awq", grouped, SHAPES)
    with pytest.raises(QuantizationError, match="o_proj"):
        assert_no_fallback("awq", grouped, SHAPES | {"model.layers.0.self_attn.v_proj": (128, 128)})
    with pytest.raises(QuantizationError, match="v_proj"):
        assert_no_fallback("awq", log("awq", self_attn__v_proj="not applicable"), SHAPES)


def test_a_layer_that_the_log_leaves_out_is_an_error() -> None:
    with pytest.raises(QuantizationError, match=r"does not account for 1 layers: model\.layers\.0\.mlp\.up_proj"):
        assert_no_fallback("gptq", log()[:2], SHAPES)


def test_no_calibration_text_is_an_error(source: Checkpoint, placement: Placement, out: Path) -> None:
    with pytest.raises(QuantizationError, match="needs calibration texts"):
        GPTQ().quantize(source, Calibration(texts=()), out, placement)


@pytest.fixture(scope="module", params=[GPTQ, AWQ], ids=["gptq", "awq"])
def made(
    request: pytest.FixtureRequest,
    source: Checkpoint,
    calibration: Calibration,
    placement: Placement,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[GPTQModelQuantizer, Checkpoint]:
    quantizer = request.param()
    return quantizer, quantizer.quantize(source, calibration, tmp_path_factory.mktemp(quantizer.name), placement)


@pytest.mark.slow
def test_the_model_is_4_bit_throughout_and_near_its_source(
    made: tuple[GPTQModelQuantizer, Checkpoint], source: Checkpoint, placement: Placement, prompts: torch.Tensor
) -> None:
    quantizer, checkpoint = made
    written = directory_tensors(checkpoint.path)
    assert [name for name in linear_shapes(source.path) if f"{name}.qweight" not in written] == []
    full = load_model(source.path, placement)
    model = quantizer.load(checkpoint, placement)
    with torch.inference_mode():
        expected, found = full(prompts).logits, model(prompts).logits
    error = float((found - expected).norm() / expected.norm())
    assert 0.001 < error < 0.6  # 4 bits of random weights: neither untouched nor noise
    assert found.dtype is torch.float32


@pytest.mark.slow
def test_quantizing_twice_gives_the_same_bytes(
    made: tuple[GPTQModelQuantizer, Checkpoint],
    source: Checkpoint,
    calibration: Calibration,
    placement: Placement,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    quantizer, checkpoint = made
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    again = quantizer.quantize(source, calibration, out, placement)
    assert not list((tmp_path / "here").iterdir())  # the library's own logs went elsewhere
    assert load_file(again.path / "model.safetensors").keys() == load_file(checkpoint.path / "model.safetensors").keys()
    for name, tensor in load_file(again.path / "model.safetensors").items():
        assert torch.equal(tensor, load_file(checkpoint.path / "model.safetensors")[name]), name


@pytest.mark.slow
def test_a_reload_that_differs_is_an_error(
    made: tuple[GPTQModelQuantizer, Checkpoint], placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's weights stay; the codes they are held against belong to another layer's scale."""
    quantizer, checkpoint = made

    def off(read):
        def grid(files, layer):
            found = read(files, layer)
            return replace(found, weight=found.weight * 1.1)

        return grid

    layouts = {name: off(read) for name, read in quantizer.layouts.items()}
    monkeypatch.setattr(type(quantizer), "layouts", layouts)
    with pytest.raises(QuantizationError, match="reloaded, it differs from its codes on disk"):
        quantizer.load(checkpoint, placement)


@pytest.mark.slow
def test_a_changed_embedding_is_an_error(
    source: Checkpoint, calibration: Calibration, placement: Placement, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = worker.quantize

    def meddling(method: str, path: Path, written: Path, *args: object, **options: object) -> worker.Log:
        rows = original(method, path, written, *args, **options)
        tensors = load_file(written / "model.safetensors")
        tensors["model.embed_tokens.weight"][0, 0] += 1
        save_file(tensors, written / "model.safetensors", metadata={"format": "pt"})
        return rows

    monkeypatch.setattr(worker, "quantize", meddling)
    with pytest.raises(QuantizationError, match=r"model\.embed_tokens\.weight"):
        GPTQ().quantize(source, calibration, out, placement)


@pytest.mark.slow
def test_what_the_library_raises_is_told(placement: Placement, calibration: Calibration, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(QuantizationError, match="gptqmodel could not make gptq: "):
        worker.quantize("gptq", tmp_path / "empty", tmp_path / "out", calibration.texts, group=128, device="cpu")


@pytest.mark.slow
def test_the_recipe_may_lie_beside_the_config(
    made: tuple[GPTQModelQuantizer, Checkpoint], placement: Placement, prompts: torch.Tensor, tmp_path: Path
) -> None:
    quantizer, checkpoint = made
    old = Path(shutil.copytree(checkpoint.path, tmp_path / "old"))
    config = json.loads((old / "config.json").read_text())
    recipe = config.pop("quantization_config")
    (old / "config.json").write_text(json.dumps(config))
    beside = {"gptq": "quantize_config.json", "awq": "quant_config.json"}[quantizer.name]
    kept = ("bits", "group_size", "desc_act", "sym", "zero_point", "version")
    (old / beside).write_text(json.dumps({key: recipe[key] for key in kept if key in recipe}))
    for other in ("quantize_config.json", "quant_config.json"):
        if other != beside:
            (old / other).unlink(missing_ok=True)
    with torch.inference_mode():
        expected = quantizer.load(checkpoint, placement)(prompts).logits
        found = quantizer.load(Checkpoint(path=old, digest="2" * 64), placement)(prompts).logits
    assert torch.equal(found, expected)


@pytest.mark.slow
def test_a_text_that_the_library_would_drop_is_an_error(
    source: Checkpoint, calibration: Calibration, placement: Placement, out: Path
) -> None:
    """Ten tokens are too few, eleven are not."""
    short = " ".join(f"w{number}" for number in range(1, 11))
    with pytest.raises(QuantizationError, match="1 of 9 calibration texts have fewer than 11 tokens"):
        GPTQ().quantize(source, Calibration(texts=(*calibration.texts[:8], short)), out, placement)
    enough = (*calibration.texts[:8], f"{short} w11")
    assert GPTQ().quantize(source, Calibration(texts=enough), out, placement).precision == "gptq"


def test_the_texts_that_the_library_keeps_are_counted() -> None:
    class Model:
        def prepare_dataset(self, texts: list[int]) -> list[dict[str, list[int]]]:
            kept = [text for text in texts if text > 10]
            return [{"input_ids": kept[:2]}, {"input_ids": kept[2:]}]

    model = Model()
    used = worker._count_used(model)
    model.prepare_dataset([11, 10, 12, 13])
    assert used == [3]
