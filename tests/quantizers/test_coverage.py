"""Every weight is to be in 4 bits, or named with a reason, or makes the model one that cannot be measured."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests import tiny
from unlearn_guard.errors import UsageError
from unlearn_guard.quantizers.coverage import assert_quantizable, coverage_of, refusals


@pytest.mark.parametrize("family", ["llama", "mixtral", "qwen3_moe", "gpt_oss", "granitemoe", "gpt2", "falcon"])
def test_every_weight_of_two_dimensions_is_somewhere_once(family: str) -> None:
    model = tiny.build(family)
    found = coverage_of(model)
    named = [*found.units, *found.kept, *found.unknown]
    assert sorted(named) == sorted(name for name, one in model.named_parameters() if one.dim() >= 2)


def test_a_mixture_by_hand() -> None:
    """gpt-oss, two layers: four projections each, two stacks, a router and two biases of experts."""
    found = coverage_of(tiny.build("gpt_oss"))
    assert len(found.linears) == 2 * 4
    assert found.experts["model.layers.0.mlp.experts.gate_up_proj"] == (4, 64, 192)
    assert found.kept["model.layers.1.mlp.router.weight"] == "router"
    assert found.kept["model.layers.1.mlp.experts.down_proj_bias"] == "bias"
    assert set(found.kept.values()) == {"embedding", "output head", "router", "bias"}
    attention = 64 * 64 * 2 + 64 * 32 * 2
    experts = 4 * (64 * 192 + 96 * 64)
    assert found.total == 2 * (attention + experts + 4 * 64 + 4 * 192 + 4 * 64)


class Odd(nn.Module):
    """A weight that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(8, 8))


def test_a_weight_of_no_known_kind_is_unknown() -> None:
    model = tiny.build("llama")
    model.model.layers[0].mlp.odd = Odd()
    model.model.layers[1].conv = nn.Conv1d(8, 8, 3, groups=4)
    model.model.layers[1].depthwise = nn.Conv1d(8, 8, 3, groups=8)
    found = coverage_of(model)
    assert set(found.unknown) == {"model.layers.0.mlp.odd.table", "model.layers.1.conv.weight"}
    assert found.kept["model.layers.1.depthwise.weight"] == "depthwise convolution"


def saved(family: str, out: Path, **more: object) -> Path:
    tiny.build(family, **more).config.save_pretrained(out)
    return out


@pytest.mark.parametrize(
    ("family", "nf4", "gptq"),
    [
        ("llama", "", ""),
        ("mixtral", "", "experts of a mixture"),
        ("qwen3_moe", "", "experts of a mixture"),
        ("gpt_oss", "", "experts of a mixture"),
        ("gpt2", "", "Conv1D"),
        ("falcon", "a FalconLinear", ""),
    ],
)
def test_which_precisions_a_family_has(family: str, nf4: str, gptq: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 128, "intermediate_size": 256, "n_embd": 128, "n_inner": 256}
    path = saved(family, tmp_path, **sizes | ({} if family == "falcon" else {"head_dim": 32}))
    assert refusals(path, "full") == ()
    for precision, expected in (("nf4", nf4), ("gptq", gptq), ("awq", gptq)):
        found = refusals(path, precision)
        assert [expected in each.found for each in found] == ([True] if expected else [])


def test_a_width_that_no_group_divides(tmp_path: Path) -> None:
    path = saved("llama", tmp_path, hidden_size=48, num_attention_heads=3, num_key_value_heads=3)
    assert "48" in refusals(path, "awq")[0].found
    assert refusals(path, "nf4") == ()


def test_rows_that_awq_cannot_clip(tmp_path: Path) -> None:
    """Two heads of 16 values are 32 rows, an MLP has 96; the 32 rows of keys are not clipped."""
    (found,) = refusals(saved("llama", tmp_path), "awq")
    assert found.found == "32, 96 outputs"
    assert "v_proj" in found.where
    assert "up_proj" in found.where
    assert "k_proj" not in found.where
    assert refusals(tmp_path, "gptq") == ()


def test_the_refusal_names_layers_precision_and_what_to_leave_out(tmp_path: Path) -> None:
    path = saved("mixtral", tmp_path)
    assert_quantizable(path, "here", ["full", "nf4"])
    with pytest.raises(UsageError) as caught:
        assert_quantizable(path, "here", ["full", "nf4", "gptq", "awq"])
    text = str(caught.value)
    assert "here cannot be checked at gptq, awq" in text
    assert "model.layers.0.mlp.experts.gate_up_proj" in text
    assert "--precisions full,nf4." in text
