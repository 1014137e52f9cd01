"""The fp32 copies and their optimizer, against torch's own AdamW on an fp32 model."""

import pytest
import torch

from tests.unlearning.small import CPU, corpora, llama, moved, weights
from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.corpora import batch
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.scoring import score

NAMES = ("model.layers.1.mlp.up_proj.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.bias")


def loss(model, turn=0):
    return score(model, batch(corpora().forget, [turn % 6, (turn + 1) % 6], CPU)).nll


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_is_adamws(clip):
    """Three steps at falling rates with decay, bit for bit up to fp32 rounding, and nothing else moves."""
    ours, theirs = llama(), llama()
    before = weights(ours)
    masters = Masters(ours, NAMES, weight_decay=0.1)
    theirs.requires_grad_(False)
    free = [theirs.get_parameter(name).requires_grad_(True) for name in NAMES]
    adam = torch.optim.AdamW(free, weight_decay=0.1, lr=0.0, foreach=False)
    for turn, lr in enumerate((1e-2, 5e-3, 1e-3)):
        loss(ours, turn).backward()
        masters.step(lr, clip)
        adam.zero_grad()
        loss(theirs, turn).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(free, clip)
        adam.param_groups[0]["lr"] = lr
        adam.step()
    masters.close()
    for name in NAMES:
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name).detach(), rtol=1e-5, atol=1e-7)
    assert moved(ours, before) == set(NAMES)


def test_small_steps_add_up_in_fp32_under_bf16():
    """A step of less than half a bf16 unit is kept: a hundred of them move the weight, which bf16 alone would not."""
    model = llama(dtype=torch.bfloat16)
    name = "model.norm.weight"
    with torch.no_grad():
        model.get_parameter(name).fill_(1.0)
    masters = Masters(model, [name], weight_decay=0.0)
    for _ in range(100):
        masters.gradients[name].fill_(1.0)  # of a constant gradient AdamW makes steps of lr
        masters.step(1e-4, None)
    masters.close()
    assert masters.weights[name].mean().item() == pytest.approx(0.99, abs=1e-4)
    assert torch.equal(model.get_parameter(name), masters.weights[name].bfloat16())
    assert 1.0 - torch.tensor(1e-4).bfloat16() == 1.0 - 1e-4  # in bf16 the step exists, but ...
    assert torch.tensor(1.0).bfloat16() - torch.tensor(1e-4).bfloat16() == 1.0  # ... not beside a weight of 1


def test_gradients_of_batches_add_up_in_fp32():
    """The sum of the bf16 gradients before any rounding of the sum."""
    model, other = llama(dtype=torch.bfloat16), llama(dtype=torch.bfloat16)
    masters = Masters(model, NAMES, weight_decay=0.0)
    free = [other.get_parameter(name) for name in NAMES]
    expected = [torch.zeros_like(one, dtype=torch.float32) for one in free]
    for turn in range(5):
        loss(model, turn).backward()
        for total, one in zip(expected, torch.autograd.grad(loss(other, turn), free), strict=True):
            total += one.float()
    for name, total in zip(NAMES, expected, strict=True):
        assert torch.equal(masters.gradients[name], total)
        assert not torch.equal(total, total.bfloat16().float())
    masters.step(1e-3, None)
    assert all((one == 0).all() for one in masters.gradients.values())
    masters.close()


def test_only_what_is_named_requires_a_gradient_and_none_is_left_lying():
    model = llama()
    model.requires_grad_(True)
    masters = Masters(model, NAMES, weight_decay=0.0)
    assert {name for name, one in model.named_parameters() if one.requires_grad} == set(NAMES)
    loss(model).backward()
    assert all(one.grad is None for one in model.parameters())
    assert all(one.norm() > 0 for one in masters.gradients.values())
    masters.close()
    assert not any(one.requires_grad for one in model.parameters())
    model.get_parameter(NAMES[0]).requires_grad_(True)
    held = masters.gradients[NAMES[0]].clone()
    loss(model).backward()
    assert torch.equal(masters.gradients[NAMES[0]], held)  # the hooks are gone


def test_a_tied_tensor_moves_once_with_both_its_gradients():
    model = llama(tie_word_embeddings=True)
    masters = Masters(model, ["model.embed_tokens.weight"], weight_decay=0.0)
    loss(model).backward()
    model.requires_grad_(False)
    found = masters.gradients["model.embed_tokens.weight"].clone()
    masters.close()
    other = llama(tie_word_embeddings=True)
    other.requires_grad_(True)
    loss(other).backward()
    torch.testing.assert_close(found, other.model.embed_tokens.weight.grad)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_name_that_is_none_is_refused():
    with pytest.raises(UsageError, match=r"Did you mean model\.norm\.weight"):
        Masters(llama(), ["model.norm.wieght"], weight_decay=0.0)
    with pytest.raises(UsageError, match="trains nothing"):
        Masters(llama(), [], weight_decay=0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_is_refused_and_moves_nothing(value):
    model = llama()
    before = weights(model)
    masters = Masters(model, NAMES, weight_decay=0.0)
    masters.gradients[NAMES[1]][0] = value
    with pytest.raises(NonFiniteError, match="gradient is NaN or infinite"):
        masters.step(1e-3, 1.0)
    assert not moved(model, before)


def test_goes_back_to_a_saved_state():
    one, other = llama(dtype=torch.bfloat16), llama(dtype=torch.bfloat16)
    first, second = (Masters(model, NAMES, weight_decay=0.1) for model in (one, other))
    for turn in range(2):
        loss(one, turn).backward()
        first.step(1e-2, None)
    second.load({name: value.clone() for name, value in first.state().items()})
    for model, masters in ((one, first), (other, second)):
        loss(model, 2).backward()
        masters.step(1e-2, None)
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in NAMES)
    assert all(torch.equal(one.get_parameter(name), other.get_parameter(name)) for name in NAMES)
