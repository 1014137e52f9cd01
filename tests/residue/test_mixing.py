"""A model with some of another put back."""

import pytest
import torch
from torch import nn

from unlearn_guard.errors import MeasurementError
from unlearn_guard.residue.mixing import mix


def filled(value, width=2, dtype=torch.float32):
    layer = nn.Linear(2, width).to(dtype)
    with torch.no_grad():
        for each in layer.parameters():
            each.fill_(value)
    return layer


def test_by_hand():
    model = filled(1.0)
    mix(model, filled(5.0), 0.25)
    assert set(model.weight.flatten().tolist()) == {2.0}
    assert set(model.bias.tolist()) == {2.0}


def test_none_and_all_are_the_models_themselves():
    for share, value in ((0.0, 1.0), (1.0, 5.0)):
        model = filled(1.0)
        mix(model, filled(5.0), share)
        assert model.weight[0, 0].item() == value


def test_a_coarse_dtype_is_rounded_once():
    model = filled(1.0, dtype=torch.bfloat16)
    mix(model, filled(1.01171875, dtype=torch.bfloat16), 0.6)
    assert model.weight[0, 0].item() == torch.tensor(1.00703125).bfloat16().item()


def test_models_of_other_shapes_are_refused():
    with pytest.raises(MeasurementError):
        mix(filled(1.0), filled(5.0, width=3), 0.5)
