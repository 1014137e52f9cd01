"""Log-likelihoods of texts, and accuracy, against one text at a time."""

import pytest
import torch

from tests.unlearning.small import CPU, llama, texts
from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.corpora import Question, Text, batch
from unlearn_guard.unlearning.scoring import accuracy, score, score_both


def alone(model, ids, start):
    """Summed log-likelihood of the ids from `start` on: no batch, no padding, a logit row for each token."""
    with torch.no_grad():
        logp = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(logp[place - 1, ids[place]].item() for place in range(start, len(ids)))


def test_neither_batch_nor_padding_changes_a_likelihood():
    model, rows = llama(), texts(9, seed=3)
    expected = [-alone(model, row.ids, row.start) for row in rows]
    for part in ([*range(9)], [0, 5], [8], [7, 1, 2, 4]):
        with torch.no_grad():
            found = score(model, batch(rows, part, CPU))
        assert found.nll_B.tolist() == pytest.approx([expected[each] for each in part], rel=1e-5)
        tokens = sum(len(rows[each].ids) - rows[each].start for each in part)
        assert found.nll.item() == pytest.approx(sum(expected[each] for each in part) / tokens, rel=1e-5)


def test_what_padding_holds_changes_nothing():
    model, rows = llama(), texts(5, seed=3)
    asked = batch(rows, range(5), CPU)
    with torch.no_grad():
        before = score(model, asked).nll_B
        asked.ids_BT.masked_fill_(~asked.mask_BT, 17)
        assert torch.equal(score(model, asked).nll_B, before)


def runs_of(model, preferred, asked):
    """What score_both finds, and how often it ran the model."""
    times = []
    handle = model.register_forward_pre_hook(lambda *_: times.append(1))
    try:
        with torch.no_grad():
            return score_both(model, preferred, asked), len(times)
    finally:
        handle.remove()


@pytest.mark.parametrize(("answer", "runs"), [((1, 1), 1), ((2, 3), 2)], ids=["words", "continuations"])
def test_two_answers_cost_one_run_where_they_differ_in_their_last_token_alone(answer, runs):
    model, rows = llama(), texts(9, seed=3, answer=answer, instead=True)
    asked, preferred = (batch(rows, range(9), CPU, instead=instead) for instead in (False, True))
    (said, true), found = runs_of(model, preferred, asked)
    assert found == runs
    assert true.nll_B.tolist() == pytest.approx([-alone(model, row.ids, row.start) for row in rows], rel=1e-5)
    assert said.nll_B.tolist() == pytest.approx([-alone(model, row.instead, row.start) for row in rows], rel=1e-5)
    assert torch.equal(said.batch.ids_BT, preferred.ids_BT)


def test_one_row_whose_answers_differ_earlier_is_enough_for_two_runs():
    model, rows = llama(), texts(6, seed=3, answer=(1, 1), instead=True)
    longer = Text(ids=(*rows[0].ids, 5, 6), start=rows[0].start, instead=(*rows[0].ids[:-1], 7, 8, 6))
    rows = (*rows, longer)
    asked, preferred = (batch(rows, range(7), CPU, instead=instead) for instead in (False, True))
    (said, _), found = runs_of(model, preferred, asked)
    assert found == 2
    assert said.nll_B[-1].item() == pytest.approx(-alone(model, longer.instead, longer.start), rel=1e-5)


def questions(count, answer=(1, 3)):
    rows = texts(4 * count, seed=6, answer=answer)
    asked = texts(count, seed=7, prompt=(2, 9))
    return [
        Question(
            prompt=asked[each].ids[: asked[each].start],
            choices=tuple(row.ids[row.start :] for row in rows[4 * each : 4 * each + 4]),
            answer=each % 4,
        )
        for each in range(count)
    ]


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("answer", [(1, 3), (1, 1)], ids=["continuations", "words"])
def test_accuracy_is_lm_evals_acc(rows, answer):
    """As lm-eval's `acc` does it: the choice of the highest summed log-likelihood, the first among equals."""
    model, asked = llama(), questions(24, answer)
    right = 0
    for each in asked:
        values = [alone(model, each.prompt + choice, len(each.prompt)) for choice in each.choices]
        right += values.index(max(values)) == each.answer
    assert 0 < right < 24
    assert accuracy(model, asked, rows=rows) == right / 24


def test_of_equal_choices_the_first_is_taken():
    one = Question(prompt=(5, 6), choices=((7, 8), (7, 8)), answer=0)
    other = Question(prompt=(5, 6), choices=((7, 8), (7, 8)), answer=1)
    assert accuracy(llama(), [one, one, one, other]) == 0.75


def test_no_number_is_no_accuracy():
    with pytest.raises(UsageError, match="accuracy of no questions"):
        accuracy(llama(), [])
    model = llama()
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    with pytest.raises(NonFiniteError):
        accuracy(model, questions(2))


def test_a_model_that_ignores_what_it_is_asked_is_refused(monkeypatch):
    model = llama()
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *, logits_to_keep, **rest: forward(**rest))
    with pytest.raises(UsageError, match="ignored logits_to_keep"):
        score(model, batch(texts(1, seed=0), [0], CPU))
