"""Which state of a training is kept, on accuracies that are written down here."""

from types import SimpleNamespace

import pytest
import torch

from unlearn_guard.errors import UsageError
from unlearn_guard.records import Role
from unlearn_guard.unlearning import best
from unlearn_guard.unlearning.best import Best

ASKED = SimpleNamespace(questions={Role.FORGET: ("forget",), Role.RETAIN: ("retain",)})


class Trained(torch.nn.Module):
    """One weight, which holds the step it is at."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    @torch.no_grad()
    def at(self, step):
        self.weight.fill_(step)


def keeper(model, **how):
    return Best(model, ASKED, ["weight"], **{"least": 0.8, "every": 1, "last": 99} | how)


@pytest.fixture
def scored(monkeypatch):
    """Give the accuracies of each step: {step: (forget, retain)}; says at which steps it was asked."""
    steps = {}
    asked = []

    def accuracy(model, questions):
        asked.append(int(model.weight))
        return steps[int(model.weight)][questions == ("retain",)]

    monkeypatch.setattr(best, "accuracy", accuracy)
    return steps, asked


def run(model, one, steps):
    for step in steps:
        model.at(step)
        one.look(step, None)


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [
        ({1: (0.5, 1.0), 2: (0.2, 0.9), 3: (0.4, 1.0)}, 2),
        ({1: (0.2, 1.0), 2: (0.2, 0.9), 3: (0.4, 1.0)}, 2),  # of equals the later, though the earlier retains more
        ({1: (0.5, 0.8), 2: (0.1, 0.79)}, 1),  # exactly `least` is enough, less is not
    ],
)
def test_the_state_kept_is_the_latest_of_those_that_forget_most_and_retain_enough(scored, accuracies, kept):
    scored[0].update(accuracies)
    model = Trained()
    one = keeper(model)
    run(model, one, accuracies)
    one.restore()
    assert model.weight.item() == kept


def test_it_looks_every_so_many_steps_and_at_the_last(scored):
    scored[0].update(dict.fromkeys(range(8), (0.5, 1.0)))
    model = Trained()
    run(model, keeper(model, every=3, last=7), range(1, 8))
    assert scored[1] == [3, 3, 6, 6, 7, 7]


def test_a_training_that_was_resumed_keeps_what_one_in_a_go_keeps(scored):
    accuracies = {1: (0.3, 0.9), 2: (0.1, 0.9), 3: (0.2, 1.0), 4: (0.1, 0.7)}
    scored[0].update(accuracies)
    for cut in range(1, 5):
        model = Trained()
        first = keeper(model)
        run(model, first, range(1, cut + 1))
        second = keeper(model)
        second.load(first.state())
        run(model, second, range(cut + 1, 5))
        second.restore()
        assert model.weight.item() == 2


def test_no_state_that_retains_enough_is_an_error_with_the_best_there_was(scored):
    scored[0].update({1: (0.0, 0.5), 2: (0.0, 0.7)})
    model = Trained()
    one = keeper(model)
    run(model, one, (1, 2))
    with pytest.raises(UsageError, match=r"0\.800; the best has 0\.700"):
        one.restore()
