"""GPTQ's and AWQ's integer layouts, unpacked by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.layers import directory_tensors
from unlearn_guard.quantizers.packed import assert_computes, awq_grid, gptq_grid, gptq_v2_grid


def int32(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def test_gptq_packs_eight_inputs_of_one_output(out: Path) -> None:
    """Codes 0..7 of one column, low nibble first; the stored zero 6 means 7; scale one half."""
    word = int32(sum(code << (4 * place) for place, code in enumerate(range(8))))
    zeros = int32(sum(6 << (4 * place) for place in range(8)))
    save_file(
        {
            "l.qweight": torch.tensor([[word] * 8], dtype=torch.int32),
            "l.qzeros": torch.tensor([[zeros]], dtype=torch.int32),
            "l.scales": torch.full((1, 8), 0.5, dtype=torch.float16),
            "l.g_idx": torch.zeros(8, dtype=torch.int32),
        },
        out / "model.safetensors",
    )
    weight = gptq_grid(directory_tensors(out), "l").weight
    assert weight.shape == (8, 8)
    assert weight[:, 3].tolist() == [(code - 7) * 0.5 for code in range(8)]
    weight = gptq_v2_grid(directory_tensors(out), "l").weight  # the format that stores zeros as they are
    assert weight[:, 3].tolist() == [(code - 6) * 0.5 for code in range(8)]


def test_awq_packs_eight_interleaved_outputs_of_one_input(out: Path) -> None:
    """Output o lies in nibble [0, 4, 1, 5, 2, 6, 3, 7][o]; zeros are stored as they are."""
    nibble = [0, 4, 1, 5, 2, 6, 3, 7]
    word = int32(sum(code << (4 * nibble[code]) for code in range(8)))
    zeros = int32(sum(8 << (4 * place) for place in range(8)))
    save_file(
        {
            "l.qweight": torch.tensor([[word], [word]], dtype=torch.int32),
            "l.qzeros": torch.tensor([[zeros]], dtype=torch.int32),
            "l.scales": torch.full((1, 8), 0.25),
        },
        out / "model.safetensors",
    )
    weight = awq_grid(directory_tensors(out), "l").weight
    assert weight.tolist() == [[(code - 8) * 0.25 for code in range(8)]] * 2


def test_a_layer_that_computes_its_codes_passes() -> None:
    layer = torch.nn.Linear(16, 8)
    assert_computes("l", layer, layer.weight.detach().T)


@pytest.mark.parametrize("wrong", ["zero point", "order", "scale", "nan"])
def test_a_layer_that_computes_something_else_is_an_error(wrong: str) -> None:
    layer = torch.nn.Linear(16, 8, bias=False)
    weight = layer.weight.detach().T.clone()
    changed = {
        "zero point": weight + 0.1,
        "order": weight.flip(0),
        "scale": weight * 1.05,
        "nan": weight * torch.nan,
    }[wrong]
    with pytest.raises(QuantizationError, match="reloaded"):
        assert_computes("l", layer, changed)
