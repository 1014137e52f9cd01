"""LUNAR: one tensor, and its output at the prompt's end shifted for forget prompts alone."""

from dataclasses import replace

import pytest
import torch

from tests.methods.shipped import method
from tests.unlearning.small import corpora, llama, moved, weights
from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.activations import at_last, leaving
from unlearn_guard.unlearning.session import Session, opened

DOWN = "model.layers.{}.mlp.down_proj"
WIDE = {"layers": 6, "intermediate_size": 256}
QUICK = {"epochs": 400, "batch_size": 8}


def at_end(model, texts, module):
    """What the module returns at the last position of each prompt [N, D]."""
    return at_last(model, texts, leaving, module, 3)


@pytest.mark.parametrize(("layers", "changed"), [(32, 22), (6, 4), (3, 2), (1, 0)])
def test_changes_exactly_one_tensor(layers, changed):
    model = llama(layers=layers, hidden_size=8, intermediate_size=8)
    before = weights(model)
    method("lunar", epochs=2).unlearn(model, corpora(), seed=0)
    assert moved(model, before) == {f"{DOWN.format(changed)}.weight"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forget_outputs_are_shifted_by_2_r_and_retain_outputs_stay(dtype):
    """256 inputs of the down-projection and 14 prompts: a solution exists, and the regression comes near it.

    r from the layer's own output, one prompt at a time, which is what enters the next layer.
    """
    model, data = llama(dtype=dtype, **WIDE), corpora()
    block, down = "model.layers.4", DOWN.format(4)
    r = at_end(model, data.refused, block).mean(0) - at_end(model, data.forget, block).mean(0)
    before = {name: at_end(model, getattr(data, name), down) for name in ("forget", "retain")}
    method("lunar", **QUICK).unlearn(model, data, seed=0)
    gone = {name: at_end(model, getattr(data, name), down) - before[name] for name in ("forget", "retain")}
    assert (gone["forget"] - 2 * r).norm(dim=1).max() < 0.1 * (2 * r).norm()
    assert gone["retain"].norm(dim=1).max() < 0.1 * (2 * r).norm()
    # and so is what enters the next layer
    entered = at_end(model, data.forget, block).mean(0)
    refused = at_end(llama(dtype=dtype, **WIDE), data.refused, block).mean(0)
    assert (entered - (refused + r)).norm() < 0.1 * r.norm()


def test_without_refused_prompts_there_is_nowhere_to_go():
    model = llama()
    before = weights(model)
    with pytest.raises(UsageError, match="prompts to which the model has no answer"):
        method("lunar").unlearn(model, corpora(refused=0), seed=0)
    assert not moved(model, before)


def test_at_base_what_should_stay_stays_and_the_forget_loss_is_that_of_the_shift():
    """MSE over the width: |2 r|^2 / D."""
    model, data, session = llama(), corpora(), Session()
    r = at_end(model, data.refused, "model.layers.2").mean(0) - at_end(model, data.forget, "model.layers.2").mean(0)
    with opened(session):
        method("lunar", epochs=1).unlearn(model, data, seed=0)
    assert session.curve[0].forget == pytest.approx((2 * r).square().mean().item(), rel=1e-4)
    assert session.curve[0].retain == pytest.approx(0.0, abs=1e-10)


def test_looks_at_no_more_retain_texts_than_it_is_told():
    """Two texts, whichever the seed deals: others do not matter, these do."""
    found = {}
    data = corpora()
    for kept in (8, 2):
        model = llama()
        method("lunar", epochs=3, texts=kept).unlearn(model, data, seed=0)
        found[kept] = weights(model)
    assert any(not torch.equal(found[8][name], found[2][name]) for name in found[8])


def test_a_kill_changes_nothing(tmp_path):
    """Inputs and goals are base's, which the process that goes on starts from."""
    expected = llama(dtype=torch.bfloat16)
    made = method("lunar", epochs=4, batch_size=3)
    made.unlearn(expected, corpora(), seed=0)

    class Stop(BaseException):
        pass

    class Ear:
        def begin(self, text): ...
        def losses(self, forget, retain): ...
        def advance(self, done, of):
            if done == 5:
                raise Stop

    with pytest.raises(Stop), opened(Session(folder=tmp_path, save_seconds=0.0, listener=Ear())):
        made.unlearn(llama(dtype=torch.bfloat16), corpora(), seed=0)
    found = llama(dtype=torch.bfloat16)
    with opened(Session(folder=tmp_path)):
        made.unlearn(found, corpora(), seed=0)
    assert not moved(found, weights(expected))


def test_one_refused_prompt_more_is_another_direction():
    data = corpora()
    found = []
    for refused in (data.refused, data.refused[:2]):
        model = llama()
        method("lunar", epochs=2).unlearn(model, replace(data, refused=refused), seed=0)
        found.append(model.get_submodule(DOWN.format(2)).weight)
    assert not torch.equal(*found)
