"""The head is given what it reads in one piece, and says the same."""

import copy

import pytest
import torch

from tests.unlearning.small import CPU, llama, texts
from unlearn_guard.scoring.head import in_one_piece
from unlearn_guard.unlearning.corpora import Question, batch
from unlearn_guard.unlearning.scoring import accuracy, score


def read_by_the_head(model):
    found = []
    model.lm_head.register_forward_hook(lambda _, args, __: found.append(args[0].is_contiguous()))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_last_places_of_several_rows_are_one_piece_and_their_logits_the_same(dtype):
    model, other = llama().to(dtype), llama().to(dtype)
    found, before = read_by_the_head(model), read_by_the_head(other)
    asked = batch(texts(5, seed=3), range(5), CPU)
    with torch.no_grad():
        scored = score(model, asked).logits_BSV
        kept = asked.ids_BT.shape[1] - asked.first + 1
        expected = other(input_ids=asked.ids_BT, attention_mask=asked.mask_BT, logits_to_keep=kept).logits[:, :-1]
    assert found == [True]
    assert before == [False]  # else there is nothing to mend any more
    assert torch.allclose(scored, expected.float(), atol=1e-5 if dtype is torch.float32 else 0.05)


def test_a_model_is_seen_to_once_however_often_it_is_asked():
    model = llama()
    for _ in range(3):
        in_one_piece(model)
    assert len(model.lm_head._forward_pre_hooks) == 1
    in_one_piece(copy.deepcopy(model))


def test_gradients_go_through():
    model = llama()
    score(model, batch(texts(3, seed=3), range(3), CPU)).nll.backward()
    assert model.lm_head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("training", [True, False])
def test_a_look_runs_a_stem_once_and_leaves_the_mode_of_the_model(training):
    model = llama().train(training)
    choices = ((7, 8, 9), (10, 11, 12), (13, 14, 15), (16, 17, 18))
    asked = [Question(prompt=tuple(range(3, 20)), choices=choices, answer=0)] * 8
    accuracy(model, asked)  # the first asks what the model takes
    rows = []
    model.register_forward_pre_hook(lambda _, __, options: rows.append(options["input_ids"].numel()), with_kwargs=True)
    accuracy(model, asked)
    assert model.training is training
    assert sum(rows) == 17 + 4 * 2  # the last token of a choice is not read
