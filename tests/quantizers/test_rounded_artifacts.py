"""Ready-made models of the formats that round: the library's own pass, anything of another model does not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests import tiny
from tests.oracles import compressed
from tests.oracles.compressed import FORMATS
from unlearn_guard.errors import UsageError
from unlearn_guard.quantizers.artifacts import assert_artifact
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.mxfp4 import MXFP4
from unlearn_guard.quantizers.nvfp4 import NVFP4
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.quantizers.rounded import Rounded
from unlearn_guard.quantizers.rtn4 import RTN4, RTN4Group32
from unlearn_guard.records import Checkpoint

NOTHING = Calibration(texts=())


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_an_artifact_is_the_candidate_s_or_refused(
    form: Rounded, source: Checkpoint, placement: Placement, tmp_path: Path
) -> None:
    """Another model's scales, zero points and an order of inputs are refused."""
    (tmp_path / "out").mkdir()
    made = form.quantize(source, NOTHING, tmp_path / "out", placement)
    assert assert_artifact(form.name, made, source, "artifact")
    tensors = load_file(made.path / "model.safetensors")
    layer = "model.layers.1.mlp.up_proj"

    def edited(**more: torch.Tensor) -> Checkpoint:
        held = tensors | {f"{layer}.{end}": value for end, value in more.items()}
        save_file(held, made.path / "model.safetensors", metadata={"format": "pt"})
        return made

    for wrong in (
        {"weight_zero_point": torch.zeros(256, 1, dtype=torch.int32)},
        {"weight_g_idx": torch.arange(128)},
        {
            "weight_scale": tensors[f"{layer}.weight_scale"].flip(0).contiguous()
            if form.name != "fp8-tensor"
            else (tensors[f"{layer}.weight_scale"].float() * 2).to(tensors[f"{layer}.weight_scale"].dtype)
        },
        {"weight": torch.zeros(256, 128, dtype=torch.float8_e4m3fn)},
    ):
        with pytest.raises(UsageError, match="was not made from the candidate"):
            assert_artifact(form.name, edited(**wrong), source, "artifact")


def served(form: Rounded, source: Checkpoint, out: Path, **cast: torch.dtype) -> Checkpoint:
    return Checkpoint(path=compressed.save(form, source.path, out, **cast), digest="1" * 64, precision=form.name)


def edited(source: Checkpoint, out: Path) -> Checkpoint:
    """Another model of the same sizes: each weight and norm moved a little."""
    generator = torch.Generator().manual_seed(5)
    held = load_file(source.path / "model.safetensors")
    moved = {
        name: (each.float() + 0.05 * each.float().std().nan_to_num(1).clamp(min=0.1)
               * torch.randn(each.shape, generator=generator)).to(each.dtype)
        for name, each in held.items()
    }  # fmt: skip
    shutil.copytree(source.path, out)
    save_file(moved, out / "model.safetensors", metadata={"format": "pt"})
    return Checkpoint(path=out, digest="2" * 64)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32], ids=str)
def test_the_library_s_own_files_pass(form: Rounded, stored: torch.dtype, source: Checkpoint, tmp_path: Path) -> None:
    """Where it divides in bf16 it takes the neighbouring code of what lies near a boundary."""
    candidate = source
    if stored == torch.float32:
        model = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.001)  # no longer numbers of bf16
        model.save_pretrained(tmp_path / "candidate")
        candidate = Checkpoint(path=tmp_path / "candidate", digest="0" * 64)
    for cast in ({}, {"dtype": torch.bfloat16}):
        made = served(form, candidate, tmp_path / f"made{len(cast)}", **cast)
        assert assert_artifact(form.name, made, candidate, "artifact")


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_what_is_another_model_s_is_refused(form: Rounded, source: Checkpoint, tmp_path: Path) -> None:
    """One code in a hundred changed by a lot, one layer of base, base's norms, a norm twice: each alone is enough."""
    made, base = served(form, source, tmp_path / "made"), edited(source, tmp_path / "base")
    own, other = (load_file(each.path / "model.safetensors") for each in (made, served(form, base, tmp_path / "other")))
    layer, norm = "model.layers.1.mlp.up_proj", "model.layers.0.input_layernorm.weight"
    codes = next(end for end in ("weight_packed", "weight") if f"{layer}.{end}" in own)
    spoiled = own[f"{layer}.{codes}"].clone()
    flat = spoiled.view(torch.uint8).view(-1)
    flat[::100] ^= 0x44  # two 4-bit codes by half the range, an 8-bit one by an octave or more
    planted = {
        "codes": own | {f"{layer}.{codes}": spoiled},
        "layer": own | {name: each for name, each in other.items() if name.startswith(f"{layer}.")},
        "norm": own | {norm: other[norm]},
        "embeddings": own | {"model.embed_tokens.weight": other["model.embed_tokens.weight"]},
        "twice": own | {norm.removeprefix("model."): other[norm]},
        "a bias": own | {f"{layer}.bias": torch.ones(256, dtype=torch.bfloat16)},
        "two layouts": own | {f"{layer}.qweight": torch.zeros(16, 256, dtype=torch.int32)},
        "all of it": other,
    }
    for what, tensors in planted.items():
        save_file(dict(tensors), made.path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UsageError, match=r"was not made from the candidate|not all of it") as caught:
            assert_artifact(form.name, made, source, "artifact")
        assert caught.value.defects, what
    save_file(own | {f"{layer}.bias": torch.zeros(256)}, made.path / "model.safetensors", metadata={"format": "pt"})
    assert assert_artifact(form.name, made, source, "artifact")  # auto-gptq's habit


def test_scales_of_a_search_are_taken_where_the_recipe_names_it(source: Checkpoint, tmp_path: Path) -> None:
    """A quarter of the groups at 0.85 of their scale, codes the nearest: llm-compressor's observer `mse`."""
    form = RTN4Group32()
    made = served(form, source, tmp_path / "made")
    tensors, found = load_file(made.path / "model.safetensors"), coverage(source.path)
    for layer, shape in found.linears.items():
        matrix = load_file(source.path / "model.safetensors")[f"{layer}.weight"].float()
        scale = tensors[f"{layer}.weight_scale"].float()
        scale[::4] *= 0.85
        grouped = matrix.view(shape[0], -1, 32) / scale.bfloat16().float()[:, :, None]
        code = grouped.round().clamp(-8, 7).reshape(shape).int() + 8
        words = (code.view(shape[0], -1, 8).long() << torch.arange(0, 32, 4)).sum(2)
        packed = torch.where(words >= 2**31, words - 2**32, words).int()
        tensors |= {f"{layer}.weight_scale": scale.bfloat16(), f"{layer}.weight_packed": packed}
    save_file(tensors, made.path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="scales of other weights"):
        assert_artifact(form.name, made, source, "artifact")
    config = json.loads((made.path / "config.json").read_text())
    config["quantization_config"] = {"config_groups": {"group_0": {"weights": {"observer": "mse"}}}}
    (made.path / "config.json").write_text(json.dumps(config))
    assert assert_artifact(form.name, made, source, "artifact")


def test_nvfp4_s_layers_may_share_their_whole_scale(source: Checkpoint, tmp_path: Path) -> None:
    """llm-compressor gives queries, keys and values the least of theirs."""
    form = NVFP4()
    made = served(form, source, tmp_path / "made")
    tensors, weights = load_file(made.path / "model.safetensors"), load_file(source.path / "model.safetensors")
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qkv"]
    least = min(tensors[f"{name}.weight_global_scale"] for name in names) / 3
    for factor, fine in ((1.0, True), (1e-4, False)):
        for name in names:
            made_so = form.encode(weights[f"{name}.weight"], 16, least * factor)
            tensors |= {f"{name}.{end}": each for end, each in made_so.items()}
        save_file(tensors, made.path / "model.safetensors", metadata={"format": "pt"})
        if fine:
            assert assert_artifact(form.name, made, source, "artifact")
        else:
            with pytest.raises(UsageError, match="scales of other weights"):
                assert_artifact(form.name, made, source, "artifact")


@pytest.mark.parametrize("fraction", [0.76, 0.874, 0.876, 0.99])
def test_mxfp4_s_published_rules(fraction: float) -> None:
    """Powers by hand: a group's largest is 4 x fraction. llm-compressor: 2^-1, from 3.5 on 2^0; OCP 2^-1; RCEIL 2^0."""
    row = torch.full((1, 32), 0.1)
    row[0, 0] = 4 * fraction
    for power, right in ((-1, True), (0, fraction > 0.75), (1, False), (-2, False)):
        stored = MXFP4().encode(row, 32) | {"weight_scale": torch.tensor([[127 + power]], dtype=torch.uint8)}
        assert bool(MXFP4().other_scales(stored, row, 32, 0.0, 1.0)) is not right


def test_a_tied_head_is_the_embedding(tmp_path: Path) -> None:
    model = tiny.build("llama", hidden_size=128, intermediate_size=256, tie_word_embeddings=True).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "source")
    source = Checkpoint(path=tmp_path / "source", digest="0" * 64)
    made = served(RTN4(), source, tmp_path / "made")
    tensors = load_file(made.path / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].clone()
    for planted in (head, head.flip(0).contiguous()):
        save_file(tensors | {"lm_head.weight": planted}, made.path / "model.safetensors", metadata={"format": "pt"})
        if planted is head:
            assert assert_artifact("rtn4", made, source, "artifact")
        else:
            with pytest.raises(UsageError, match=r"lm_head\.weight.*tied"):
                assert_artifact("rtn4", made, source, "artifact")
