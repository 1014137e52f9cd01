"""Activation shifts are relative changes of what sublayers write."""

import math

import numpy as np
import pytest
import torch

from tests.attribution.tiny_models import FAMILIES, random_pairs, tiny
from unlearn_guard.attribution.circuit import Circuit
from unlearn_guard.attribution.shifts import (
    NodeOutputs,
    activation_shift,
    corrected_shift,
    measure_shift,
    moves,
    node_outputs,
)
from unlearn_guard.errors import MeasurementError

FIRST = Circuit(layers=(0,), masses=(1.0,), share=1.0)
WHERE = {"subject": "s", "precision": "full", "task": "t"}


def outputs(*items):
    return NodeOutputs(layers=1, by_item=tuple(np.array(item, dtype=np.float32)[:, None, None] for item in items))


def test_worked_by_hand():
    """The MLP went from 3, 4 to 0, 4: 3 over 5. The attention from 1, 1 to 1, 2: 1 over sqrt 2."""
    inside, outside = activation_shift(moves(outputs((1, 3), (1, 4)), outputs((1, 0), (2, 4))), FIRST)
    assert inside == pytest.approx(3 / 5)
    assert outside == pytest.approx(1 / math.sqrt(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sublayers_add_up_to_the_residual_stream(family):
    model, prompt = tiny(family), random_pairs(1)[0].clean
    found = node_outputs(model, [prompt]).by_item[0]
    hidden = []
    handles = [
        model.model.layers[0].input_layernorm.register_forward_pre_hook(lambda m, a: hidden.append(a[0])),
        model.model.norm.register_forward_pre_hook(lambda m, a: hidden.append(a[0])),
    ]  # fmt: skip
    with torch.no_grad():
        model(input_ids=torch.tensor([prompt]))
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose(hidden[0][0].numpy() + found.sum(0), hidden[1][0].numpy(), rtol=1e-4, atol=1e-4)


def test_measures_with_errors():
    prompts = [pair.clean for pair in random_pairs(3)]
    base, other = node_outputs(tiny("llama"), prompts), node_outputs(tiny("llama", seed=9), prompts)
    found = measure_shift(moves(base, other), FIRST, subject="s", precision="full", task="t")
    assert [each.metric for each in found] == ["activation_shift_c", "activation_shift_nc"]
    assert all(each.value > 0.5 and each.stderr > 0 and len(each.intervals) == 3 for each in found)
    same = measure_shift(moves(base, base), FIRST, subject="s", precision="full", task="t")
    assert [each.value for each in same] == [0.0, 0.0]


def test_the_correction_is_the_jackknife_s():
    """The MLP moved by 3, 0 and 1 where it was 3, 4 and 2: 10 over 29, without each prompt 1/20, 10/13, 9/25.

    3 * 10/29 - 2 * mean of these: 0.24812. Its error is sqrt(2/3 * sum of squares about the mean).
    """
    base, other = outputs((1, 3), (1, 4), (1, 2)), outputs((1, 0), (1, 4), (1, 3))
    inside, outside = corrected_shift(moves(base, other), FIRST, **WHERE)
    left = [1 / 20, 10 / 13, 9 / 25]
    assert inside.metric == "activation_shift_c_corrected"
    assert inside.value == pytest.approx(math.sqrt(30 / 29 - 2 * sum(left) / 3))
    assert (outside.value, outside.stderr) == (0.0, 0.0)
    plain = measure_shift(moves(base, other), FIRST, **WHERE)[0]
    assert plain.value == pytest.approx(math.sqrt(10 / 29))
    assert plain.intervals == inside.intervals
    assert all(each.low <= plain.value <= each.high for each in plain.intervals)
    assert corrected_shift(moves(outputs((1, 3), (1, 4)), outputs((1, 0), (1, 4))), FIRST, **WHERE) == ()


def test_the_interval_of_a_shift_of_eight_prompts_holds_the_true_one():
    """Each prompt's change is 0.3 to 0.9 of its size, sizes differ threefold: 0.6 over all, in root mean square."""
    rng = np.random.default_rng(5)
    share_N, held = rng.uniform(0.3, 0.9, 20000), 0
    true = math.sqrt(np.square(share_N).mean())
    for _ in range(200):
        size, share = rng.uniform(1, 3, 8), rng.choice(share_N, 8)
        pair = outputs(*[(1, each) for each in size]), outputs(*[(1, each) for each in size * (1 - share)])
        interval = measure_shift(moves(*pair), FIRST, **WHERE)[0].interval(0.95)
        held += interval.low <= true <= interval.high
    assert held >= 180


def test_a_silent_base_is_an_error():
    with pytest.raises(MeasurementError, match="write nothing"):
        activation_shift(moves(outputs((1, 0)), outputs((1, 1))), FIRST)
