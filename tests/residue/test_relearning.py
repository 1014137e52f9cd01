"""Relearning: the loss by hand, what is trained, and that it stops where it is looked at."""

import math

import pytest
import torch

from tests.tiny import build
from unlearn_guard.residue.relearning import Fact, answer_loss, needs_adapters, relearn

FACTS = tuple(Fact(prompt=(2, 5, number, 6), answer=(number + 10, 7)) for number in range(8, 14))


def test_the_loss_is_over_the_answer_alone_and_by_hand():
    """A model whose head is zero gives every token 1/44, whatever was asked."""
    model = build("llama")
    torch.nn.init.zeros_(model.lm_head.weight)
    assert float(answer_loss(model, FACTS)) == pytest.approx(math.log(44))


def test_the_literal_loss_agrees_for_answers_of_unequal_length():
    model = build("llama")
    facts = (Fact(prompt=(2, 5, 6), answer=(9,)), Fact(prompt=(2, 5, 6, 7, 8), answer=(9, 10, 11)))
    literal = []
    for fact in facts:
        nats = []
        for place, token in enumerate(fact.answer):
            before = torch.tensor([[*fact.prompt, *fact.answer[:place]]])
            nats.append(-float(model(input_ids=before).logits[0, -1].log_softmax(-1)[token]))
        literal.append(sum(nats) / len(nats))
    assert float(answer_loss(model, facts)) == pytest.approx(sum(literal) / 2, rel=1e-4)


@pytest.mark.parametrize("adapters", [False, True])
def test_the_facts_are_learnt_step_by_step(adapters):
    model = build("llama")
    before = float(answer_loss(model, FACTS))
    seen = {}
    for steps in relearn(model, FACTS, lr=1e-2, adapters=adapters, seed=0, looks=(3, 12)):
        with torch.no_grad():
            seen[steps] = float(answer_loss(model, FACTS))
    assert list(seen) == [3, 12]
    assert before > seen[3] > seen[12]
    assert seen[12] < before / 2


def test_adapters_leave_the_weights_alone():
    model = build("llama")
    before = {name: each.clone() for name, each in model.named_parameters()}
    list(relearn(model, FACTS, lr=1e-2, adapters=True, seed=0, looks=(2,)))
    after = {name.replace("base_layer.", ""): each for name, each in model.named_parameters() if "lora_" not in name}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trained = [name for name, each in model.named_parameters() if each.requires_grad]
    assert trained
    assert all("lora_" in name and "lm_head" not in name for name in trained)


def test_adapters_are_float32_on_weights_that_are_not():
    model = build("llama").to(torch.bfloat16)
    assert needs_adapters(model, quantized=False)
    list(relearn(model, FACTS, lr=1e-2, adapters=True, seed=0, looks=(2,)))
    assert {each.dtype for name, each in model.named_parameters() if "lora_" in name} == {torch.float32}


def test_weights_are_trained_where_steps_are_not_lost():
    assert not needs_adapters(build("llama"), quantized=False)
    assert needs_adapters(build("llama"), quantized=True)


def test_the_same_seed_learns_the_same():
    losses = []
    for _ in range(2):
        model = build("llama")
        list(relearn(model, FACTS, lr=1e-3, adapters=True, seed=3, looks=(3,)))
        losses.append(float(answer_loss(model, FACTS)))
    assert losses[0] == losses[1]
