"""SURE: which rows are salient, and that no other moves."""

import numpy as np
import pytest
import torch

from tests.methods.shipped import method, module
from tests.unlearning.small import CPU, corpora, llama, taught, weights
from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning import tensors
from unlearn_guard.unlearning.corpora import batch
from unlearn_guard.unlearning.scoring import score

QUICK = {"steps": 3, "lr": 1e-2, "batch_size": 3}
OVER = ("ga", "npo", "simnpo", "wga", "undial")


def literal_rows(data, percentile):
    """Rows of minus the mean NLL's gradient over batches of 3 in the method's order, at or above the percentile."""
    model = llama()
    names = tensors.linears(model)
    for name in names:
        model.get_parameter(name).requires_grad_(True)
    order = module("sure").deal(6, 6, 0, seed=0)
    for hand in (order[:3], order[3:]):
        (-score(model, batch(data.forget, hand, CPU)).nll / 2).backward()
    norms = {name: [row.norm().item() for row in model.get_parameter(name).grad] for name in names}
    bar = np.percentile([one for each in norms.values() for one in each], percentile)
    return {(name, row) for name, each in norms.items() for row, one in enumerate(each) if one >= bar}


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0])
def test_the_rows_above_the_percentile_move_and_no_other(percentile):
    model, data = llama(), corpora()
    before = weights(model)
    method("sure", **QUICK, over="ga", percentile=percentile).unlearn(model, data, seed=0)
    changed = {
        (name, row)
        for name, one in model.named_parameters()
        for row in ((one != before[name]).flatten(1).any(1).nonzero().flatten().tolist() if one.ndim == 2 else
                    [-1] if not torch.equal(one, before[name]) else [])
    }  # fmt: skip
    rows = sum(model.get_parameter(name).shape[0] for name in tensors.linears(model))
    assert changed == literal_rows(data, percentile)
    assert len(changed) == pytest.approx(rows * (1 - percentile / 100), abs=1.5)


def test_the_percentile_by_hand():
    """Of 1, 2, 3, 4, 5 the median is 3: what equals it or lies above it, in whichever tensor, as in its code."""
    found = module("sure").salient({"a": torch.tensor([5.0, 1.0]), "b": torch.tensor([2.0, 4.0, 3.0])}, 50.0)
    assert {name: one.tolist() for name, one in found.items()} == {"a": [True, False], "b": [False, True, True]}
    assert method("sure").percentile == 90.0


def test_rows_without_a_gradient_are_none():
    with pytest.raises(UsageError, match="pull on no row"):
        module("sure").salient({"a": torch.zeros(5)}, 90.0)
    found = module("sure").salient({"a": torch.tensor([0.0, 0.0, 0.0, 1.0])}, 50.0)
    assert found["a"].tolist() == [False, False, False, True], "the median is 0, and a row of 0 is not salient"


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("retain_loss", ["nll", "kl"])
def test_over_any_loss(over, retain_loss):
    model, data = taught(), corpora()
    asked = batch(data.forget, range(6), CPU)
    with torch.no_grad():
        before = score(model, asked).nll.item()
    method("sure", **{**QUICK, "steps": 10}, over=over, retain_loss=retain_loss).unlearn(model, data, seed=0)
    with torch.no_grad():
        assert score(model, asked).nll.item() > before + 0.1


@pytest.mark.parametrize(
    ("wrong", "what"),
    [({"over": "gaa"}, "no loss 'gaa'"), ({"percentile": 100.0}, "below 100"), ({"percentile": -1.0}, "below 100"),
     ({"percentile": float("nan")}, "below 100"), ({"weight_decay": 0.1}, "would move the rows"),
     ({"texts": 0}, "texts")],
)  # fmt: skip
def test_what_it_cannot_do_is_refused(wrong, what):
    with pytest.raises(UsageError, match=what):
        method("sure", **wrong)
