"""The formats that round to nearest, against the library whose files they read and write, and worked out by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests import tiny
from tests.oracles.compressed import FORMATS, SHAPES, by_the_library
from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers import e2m1
from unlearn_guard.quantizers.coverage import coverage, refusals
from unlearn_guard.quantizers.fp8 import FP8
from unlearn_guard.quantizers.mxfp4 import MXFP4
from unlearn_guard.quantizers.nvfp4 import NVFP4
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.quantizers.rounded import Rounded, same
from unlearn_guard.quantizers.rtn4 import RTN4, RTN4Group32
from unlearn_guard.quantizers.share import quantized_share, stored_bytes
from unlearn_guard.records import Checkpoint

NOTHING = Calibration(texts=())


def weight(rows: int = 48) -> torch.Tensor:
    """Rows of very unlike sizes, one of them zeros, and numbers that lie halfway between levels."""
    made = torch.randn(rows, 256, generator=torch.Generator().manual_seed(3)) * torch.logspace(-4, 2, rows)[:, None]
    made[1] = 0
    made[2, :8] = torch.tensor([6.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, -5.0])
    return made


def group_of(form: Rounded) -> int:
    return int(form.weights(SHAPES).get("group_size") or 0)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_codes_and_scales_are_the_library_s(form: Rounded) -> None:
    matrix = weight()
    ours, theirs = form.encode(matrix, group_of(form)), by_the_library(form, matrix)
    assert ours.keys() == theirs.keys()
    for end, value in ours.items():
        zeros = [1] if value.shape[:1] == (48,) and form.name == "mxfp4" else []  # of zeros any power will do
        rows = [row for row in range(len(value)) if row not in zeros]
        assert same(value[rows], theirs[end][rows].to(value.dtype)), end


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_no_weight_moves_by_more_than_half_the_widest_step(form: Rounded) -> None:
    """The widest step of 4-bit integers is a scale, of e2m1 two of six, of e4m3 an eighth; e4m3 scales lose 1/16."""
    matrix = weight()
    found = form.decode(form.encode(matrix, group_of(form)), (48, 256))
    width = group_of(form) or 256
    largest = matrix.view(48, -1, width).abs().amax(2).repeat_interleave(width, 1)
    if form.name == "fp8-tensor":
        largest = matrix.abs().max().expand_as(matrix)
    allowed = {"rtn": 1 / 15, "fp8": 1 / 28, "mxf": 1 / 3.5, "nvf": 1 / 6 + 1 / 16}[form.name[:3]]
    # NVFP4's scales are e4m3: of a group far below the tensor's largest only the smallest, 2^-9, is left.
    least = float(matrix.abs().max()) / 448 * 2**-9 if form.name == "nvfp4" else 1e-6
    assert ((found - matrix).abs() <= largest * allowed * 1.001 + least).all()
    assert (found[1] == 0).all()


@pytest.mark.parametrize("form", FORMATS[3:], ids=lambda form: form.name)
def test_what_lies_on_the_grid_stays(form: Rounded) -> None:
    """Not of 4-bit integers, whose largest level is 7 where 7.5 makes the scale."""
    matrix = torch.randn(48, 256, generator=torch.Generator().manual_seed(3))
    once = form.decode(form.encode(matrix, group_of(form)), (48, 256))
    codes = form.encode(once, group_of(form))
    assert torch.allclose(form.decode(codes, (48, 256)), once, rtol=0.05, atol=1e-6)


def test_e2m1_by_hand() -> None:
    numbers = torch.tensor(
        [[0.0, 0.25, 0.3, 0.75, 1.25, 2.5, 5.0, 100.0], [-0.25, -0.5, -1.4, -1.75, -3.5, -6, 4, 0.6]]
    )
    codes = e2m1.round_to_codes(numbers)
    assert codes.tolist() == [[0, 0, 1, 2, 2, 4, 6, 7], [8, 9, 11, 12, 14, 15, 6, 1]]
    assert torch.equal(e2m1.unpack(e2m1.pack(codes)), codes)
    assert e2m1.to_values(codes)[1].tolist() == [0.0, -0.5, -1.5, -2.0, -4.0, -6.0, 4.0, 0.5]


def test_rtn4_by_hand() -> None:
    """A group of 32 whose largest number is 7.5: the scale is 1, 7.5 is clipped to 7, 2.5 rounds to the even 2."""
    row = torch.zeros(1, 32)
    row[0, :5] = torch.tensor([7.5, -7.5, 2.5, -1.4, 6.6])
    stored = RTN4Group32().encode(row, 32)
    assert stored["weight_scale"].tolist() == [[1.0]]
    assert RTN4Group32().decode(stored, (1, 32))[0, :6].tolist() == [7.0, -8.0, 2.0, -1.0, 7.0, 0.0]
    assert int(stored["weight_packed"][0, 0]) & 0xFFFF == (15 | 0 << 4 | 10 << 8 | 7 << 12)


def source_of(family: str, folder: Path) -> Checkpoint:
    model = tiny.uneven(family, hidden_size=128, intermediate_size=256) if family != "gpt2" else tiny.uneven("gpt2")
    model.to(torch.bfloat16).save_pretrained(folder)
    return Checkpoint(path=folder, digest="0" * 64)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "gpt2", "phi3"])
def test_a_loaded_model_computes_with_the_rounded_weights(
    form: Rounded, family: str, placement: Placement, tmp_path: Path
) -> None:
    """The oracle: a dense fp32 model whose linear weights went through encode and decode, one by one."""
    source = source_of(family, tmp_path / "source")
    if refusals(source.path, form.name):
        assert form.name in ("rtn4-64",)
        return
    (tmp_path / "out").mkdir()
    made = form.quantize(source, NOTHING, tmp_path / "out", placement)
    found, dense = coverage(source.path), AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32).eval()
    assert found.linears
    group = form._group(found.linears)
    for layer, shape in found.linears.items():
        held = dense.get_submodule(layer).weight
        turned = layer in found.transposed
        rounded = form.decode(form.encode((held.data.T if turned else held.data).bfloat16(), group), shape)
        held.data = rounded.T if turned else rounded
    prompts = torch.randint(4, 40, (4, 8), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(form.load(made, placement)(prompts).logits, dense(prompts).logits, atol=1e-5)
    packed, total = quantized_share(stored_bytes(made.path), found, form.bits) or (0, 0)
    assert packed == sum(rows * columns for rows, columns in found.linears.values()) <= total
    assert form.quantize(source, NOTHING, _again(tmp_path), placement).digest == made.digest


def _again(folder: Path) -> Path:
    (folder / "again").mkdir()
    return folder / "again"


@pytest.mark.parametrize("form", [RTN4(), FP8(), MXFP4(), NVFP4()], ids=lambda form: form.name)
def test_transformers_reads_what_is_written(form: Rounded, source: Checkpoint, placement: Placement, out: Path) -> None:
    """A user serves these files with the library: it has to compute what was judged."""
    made = form.quantize(source, NOTHING, out, placement)
    prompts = torch.randint(1, 200, (4, 8), generator=torch.Generator().manual_seed(2))
    theirs = AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.bfloat16)
    with torch.no_grad():
        ours, found = form.load(made, placement)(prompts).logits, theirs(prompts).logits.float()
    assert (ours - found).norm() / ours.norm() < 0.03  # in bf16


def test_a_layer_that_is_not_in_the_format_is_an_error(source: Checkpoint, placement: Placement, out: Path) -> None:
    form = MXFP4()
    form.quantize(source, NOTHING, out, placement)
    tensors = load_file(out / "model.safetensors")
    layer = "model.layers.1.mlp.up_proj"
    del tensors[f"{layer}.weight_scale"]
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuantizationError, match=r"up_proj is not in mxfp4"):
        form.load(Checkpoint(path=out, digest="1" * 64), placement)
