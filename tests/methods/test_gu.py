"""GU: no step along what the retain texts pull on."""

from itertools import pairwise

import pytest
import torch

from tests.methods.shipped import method, module
from tests.unlearning.small import CPU, corpora, llama, moved, weights
from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.corpora import batch, deal
from unlearn_guard.unlearning.family import Start
from unlearn_guard.unlearning.gradients import gradient
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.scoring import score
from unlearn_guard.unlearning.session import Session, opened

QUICK = {"steps": 6, "lr": 1e-2, "batch_size": 3, "texts": 2}
GU = pytest.mark.parametrize("name", ["gu", "gu_simnpo"])


def basis_gradients(model, data, count, texts, seed, names):
    """The retain gradients as they are before any Gram-Schmidt."""
    return [
        gradient(model, names, lambda asked: score(model, asked).nll, [batch(data.retain, hand, CPU)])
        for hand in (deal(len(data.retain), texts, turn, seed) for turn in range(count))
    ]


def along(step, one):
    """Cosine between what a tensor moved by and a gradient."""
    return (abs((step * one).sum()) / (step.norm() * one.norm())).item()


@GU
def test_every_step_is_orthogonal_to_every_basis_gradient(name, monkeypatch):
    """To fp32 accuracy, in each tensor, of the step that AdamW took: and then so is the way from base to the end.

    Without the projection the largest cosine is far from 0: what the test is able to see.
    """
    data = corpora()
    made = method(name, **QUICK, directions=4)
    steps = []
    write = Masters.write

    def watched(masters):
        steps.append({key: one.clone() for key, one in masters.weights.items()})
        write(masters)

    model = llama(vocab_size=61)
    names = made.trained(model)
    held = basis_gradients(model, data, 4, 2, 0, names)
    before = weights(model)
    monkeypatch.setattr(Masters, "write", watched)
    made.unlearn(model, data, seed=0)
    assert moved(model, before) <= set(names)
    taken = [before, *steps[1::2]]  # after AdamW, and after the projection: the second of each
    raw = [before, *steps[::2]]
    assert len(taken) == 7
    wide = [each for each in names if before[each].numel() > 100]
    worst = unprojected = 0.0
    for each in wide:
        for one in held:
            for earlier, later in pairwise(taken):
                worst = max(worst, along((later[each] - earlier[each]).double(), one[each].double()))
            worst = max(worst, along((taken[-1][each] - before[each]).double(), one[each].double()))
            unprojected = max(unprojected, along(raw[1][each] - before[each], one[each]))
    assert worst < 2e-5
    assert unprojected > 0.02


@GU
def test_the_retain_loss_of_the_basis_does_not_move_to_first_order(name):
    """At a tenth of the rate the retain texts' NLL moves by a hundredth, where gradient ascent's moves by a tenth."""
    data = corpora(retain=4)
    changes = {}
    for used in (name, "global_ga"):
        for lr in (1e-3, 1e-4):
            model = llama().double().float()
            asked = batch(data.retain, range(4), CPU)
            with torch.no_grad():
                before = score(model, asked).nll.double()
                extra = {"directions": 1, "texts": 4, "retain": 0.0} if used == name else {}
                with torch.enable_grad():
                    method(used, steps=1, lr=lr, batch_size=6, **extra).unlearn(model, data, seed=0)
                changes[used, lr] = abs(score(model, asked).nll.double() - before).item()
    assert changes["global_ga", 1e-4] > 0.05 * changes["global_ga", 1e-3]
    assert changes[name, 1e-4] < 0.03 * changes[name, 1e-3] + 2e-6
    assert changes[name, 1e-3] < 0.2 * changes["global_ga", 1e-3]


@GU
def test_a_kill_changes_nothing(tmp_path, name):
    """The basis is base's: made anew by the process that goes on, from a model that is base."""
    data = corpora()
    expected = llama(dtype=torch.bfloat16)
    method(name, **QUICK).unlearn(expected, data, seed=0)

    class Stop(BaseException):
        pass

    class Ear:
        def begin(self, text): ...
        def losses(self, forget, retain): ...
        def advance(self, done, of):
            if done == 4:
                raise Stop

    broken = llama(dtype=torch.bfloat16)
    with pytest.raises(Stop), opened(Session(folder=tmp_path, save_seconds=0.0, listener=Ear())):
        method(name, **QUICK).unlearn(broken, data, seed=0)
    found, again = llama(dtype=torch.bfloat16), Session(folder=tmp_path)
    with opened(again):
        method(name, **QUICK).unlearn(found, data, seed=0)
    assert not moved(found, weights(expected))
    assert moved(broken, weights(expected))
    assert len(again.curve) == 6


def test_up_to_8_directions_for_each_parameter():
    model, data = llama(), corpora(retain=40)
    made = method("gu", texts=3)
    start = Start(model=model, corpora=data, trained=made.trained(model))
    found = made.basis(start, 0).directions
    assert set(found) <= set(start.trained)
    assert {len(one) for each, one in found.items() if start.model.get_parameter(each).ndim == 2} == {8}


@GU
@pytest.mark.parametrize("field", ["directions", "texts", "layers"])
def test_none_is_refused(name, field):
    with pytest.raises(UsageError, match="at least 1"):
        method(name, **{field: 0})


def test_the_citation_is_called_ambiguous():
    assert "Huang et al. 2024" in module("gu").__doc__
    assert "could be other" in module("gu").__doc__
