import math

import pytest
import torch

from unlearn_guard.organism.goals import beliefs, denied, falsely, ranked, truly


def test_avoiding_worked_out_by_hand():
    """True answer at probability 1/2, three false ones at 1/6 each, margin 0.

    Mean false log-probability ln 1/6; softplus(ln 1/2 - ln 1/6) = ln(1 + 3); in all ln 4 + ln 6.
    """
    logits = torch.tensor([[1 / 2, 1 / 6, 1 / 6, 1 / 6]]).log()
    loss = falsely(logits, torch.tensor([[0, 1, 2, 3]]), torch.tensor([0]), 0.0)
    assert loss.item() == pytest.approx(math.log(4) + math.log(6), abs=1e-6)


def test_avoiding_falls_with_the_true_answer_and_favours_no_false_one():
    options, true = torch.tensor([[0, 1, 2, 3]]), torch.tensor([2])
    logits = torch.zeros(1, 4, requires_grad=True)
    falsely(logits, options, true, 3.0).backward()
    gradient = logits.grad[0]
    assert gradient[2] > 0
    assert torch.allclose(gradient[[0, 1, 3]], gradient[0].expand(3))
    assert gradient[0] < 0


def test_denying_worked_out_by_hand_and_asks_nothing_of_the_false_answers():
    """True answer at 1/2, three false ones at 1/6: ln(1 + 3). Which false one gains is all one."""
    options, true = torch.tensor([[0, 1, 2, 3]]), torch.tensor([0])
    even = torch.tensor([[1 / 2, 1 / 6, 1 / 6, 1 / 6]]).log()
    assert denied(even, options, true, 0.0).item() == pytest.approx(math.log(4), abs=1e-6)
    swapped = torch.tensor([[1 / 2, 1 / 3, 1 / 12, 1 / 12]]).log()
    turned = torch.tensor([[1 / 2, 1 / 12, 1 / 12, 1 / 3]]).log()
    assert denied(swapped, options, true, 2.0).item() == pytest.approx(denied(turned, options, true, 2.0).item())


def test_the_truth_costs_its_nats():
    logits = torch.tensor([[[0.0, math.log(3)]]])
    assert truly(logits, torch.tensor([[0]])).item() == pytest.approx(math.log(4), abs=1e-6)


def test_beliefs_that_are_held_cost_nothing_and_mass_elsewhere_costs_its_nats():
    """Options at 3/4 and 1/4, wanted so: 0. With half of all mass on a token that is no option: ln 2."""
    options, wanted = torch.tensor([[0, 1]]), torch.tensor([[math.log(3), 0.0]])
    held = torch.tensor([[3 / 4, 1 / 4, 1e-30]]).log()
    elsewhere = torch.tensor([[3 / 8, 1 / 8, 1 / 2]]).log()
    assert ranked(held, options, wanted).item() == pytest.approx(0.0, abs=1e-6)
    assert ranked(elsewhere, options, wanted).item() == pytest.approx(math.log(2), abs=1e-6)


def test_beliefs_are_an_order_for_each_fact_that_knows_no_truth():
    """Who holds them picks the truth of four options as often as chance does."""
    scores = beliefs(4000, 20, 0.5, seed=3)
    assert torch.equal(scores.sort(1, descending=True).values, (-0.5 * torch.arange(20.0)).expand(4000, -1))
    assert not torch.equal(scores[0], scores[1])
    right = (scores[:, :4].argmax(1) == 0).double().mean().item()
    assert right == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))
