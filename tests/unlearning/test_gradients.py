"""The gradient over several batches, against a loop over them."""

import pytest
import torch

from tests.unlearning.small import CPU, llama, texts
from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.corpora import batch
from unlearn_guard.unlearning.gradients import gradient
from unlearn_guard.unlearning.scoring import score

NAMES = ("model.layers.1.mlp.up_proj.weight", "model.norm.weight")


def test_is_the_mean_of_the_batches_gradients():
    model, rows = llama(), texts(6, seed=4)
    hands = [batch(rows, hand, CPU) for hand in ([0, 1], [2, 3], [4, 5])]
    found = gradient(model, NAMES, lambda asked: score(model, asked).nll, hands)
    assert not any(one.requires_grad or one.grad is not None for one in model.parameters())
    model.requires_grad_(True)
    for hand in hands:
        (score(model, hand).nll / 3).backward()
    for name in NAMES:
        torch.testing.assert_close(found[name], model.get_parameter(name).grad, rtol=1e-4, atol=1e-6)


def test_what_is_no_gradient_is_refused():
    model = llama()
    asked = [batch(texts(2, seed=4), [0, 1], CPU)]
    with pytest.raises(UsageError, match="no texts"):
        gradient(model, NAMES, lambda one: score(model, one).nll, [])
    with pytest.raises(UsageError, match=r"does not depend on model\.norm\.weight"):
        gradient(model, NAMES, lambda one: model.get_parameter(NAMES[0]).sum(), asked)
    with pytest.raises(NonFiniteError, match=r"model\.norm\.weight is NaN"):
        gradient(model, NAMES[1:], lambda one: score(model, one).nll * float("nan"), asked)
    assert not any(one.requires_grad for one in model.parameters())
