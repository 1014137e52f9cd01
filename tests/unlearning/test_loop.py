"""The training loop: what it minimises, what it leaves alone, and that a kill changes nothing."""

import pytest
import torch

from tests.unlearning.small import CPU, corpora, llama, moved, weights
from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning import losses
from unlearn_guard.unlearning.corpora import batch, deal
from unlearn_guard.unlearning.family import Start
from unlearn_guard.unlearning.loop import Shapes, Training, fit
from unlearn_guard.unlearning.scoring import score
from unlearn_guard.unlearning.session import Session, opened

NAMES = ("model.layers.1.mlp.up_proj.weight", "model.layers.2.self_attn.o_proj.weight")


class Killed(BaseException):
    """As a signal would end the process between two steps: caught by nothing."""


class Counter:
    """Keeps how often it looked and the sum of what it saw: state that has to survive."""

    def __init__(self):
        self.seen = torch.zeros(2)

    def look(self, step, masters):
        self.seen += torch.tensor([step, masters.weights[NAMES[0]].sum().item()])

    def state(self):
        return {"seen": self.seen}

    def load(self, state):
        self.seen = state["seen"].clone()


def train(model, training, *, session=None, data=None, seed=1, keeper=None, **options):
    """NPO against base with an NLL retain term, unless told otherwise."""
    data = data or corpora()
    start = Start(model=model, corpora=data, trained=NAMES)
    base = start.reference
    options = {
        "forget": lambda asked: losses.npo(score(model, asked), base.nll_B(asked), 0.1),
        "retain": lambda asked: score(model, asked).nll,
        **options,
    }
    with opened(session or Session()):
        fit(model, data, training, trained=NAMES, seed=seed, keeper=keeper, **options)
    return model


def same(one, other):
    return not moved(one, weights(other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("step", [1, 4, 7])
def test_after_a_kill_the_result_is_the_same(tmp_path, dtype, step):
    """States are saved after each step; the next process starts from base again, in another random state."""
    training = Training(steps=8, lr=1e-2, batch_size=2)
    whole, keeper = Session(), Counter()
    expected = train(llama(dtype=dtype), training, session=whole, keeper=keeper)

    broken = llama(dtype=dtype)
    calls = 0

    def forget(asked):
        nonlocal calls
        if calls == step:
            raise Killed
        calls += 1
        return losses.npo(score(broken, asked), base.nll_B(asked), 0.1)

    base = Start(model=broken, corpora=corpora(), trained=NAMES).reference
    with pytest.raises(Killed):
        train(broken, training, session=Session(folder=tmp_path, save_seconds=0.0), forget=forget, keeper=Counter())
    torch.rand(5)
    again, counted = Session(folder=tmp_path, save_seconds=0.0), Counter()
    found = train(llama(dtype=dtype), training, session=again, keeper=counted)
    assert same(found, expected)
    assert not same(found, broken)
    assert torch.equal(counted.seen, keeper.seen)
    assert again.curve == whole.curve
    assert len(whole.curve) == 8


def test_a_finished_training_is_not_done_again(tmp_path):
    """A method of two trainings that was killed in its second goes through the first without a step."""
    training = Training(steps=3, lr=1e-2, batch_size=2)
    expected = train(llama(), training, session=Session(folder=tmp_path))

    def never(asked):
        raise AssertionError("a step was taken")

    found = train(llama(), training, session=Session(folder=tmp_path), forget=never)
    assert same(found, expected)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    training = Training(steps=3, lr=1e-2, batch_size=2)
    first = train(llama(), training)
    torch.rand(3)
    assert same(train(llama(), training), first)
    assert not same(train(llama(), training, seed=2), first)


def test_two_batches_of_2_are_one_of_4():
    """For losses that are means over texts; texts of one length, so that a mean over tokens is one too.

    The gradients themselves, as AdamW would hide a factor.
    """
    data, seen = corpora(same_length=True), {}
    for training in (
        Training(steps=4, lr=1e-2, batch_size=4),
        Training(steps=4, lr=1e-2, batch_size=2, accumulate=2),
        Training(steps=4, lr=1e-2, batch_size=2),
    ):
        steps = seen.setdefault((training.batch_size, training.accumulate), [])

        def keep(gradients, steps=steps):
            steps.append({name: one.clone() for name, one in gradients.items()})

        steps.append(weights(train(llama(), training, data=data, shapes=Shapes(total=keep))))
    for whole, split, other in zip(seen[4, 1], seen[2, 2], seen[2, 1], strict=True):
        for name in NAMES:
            torch.testing.assert_close(split[name], whole[name], rtol=1e-3, atol=1e-5)
            assert (other[name] - whole[name]).abs().max() > 1e-3


def test_checkpointing_changes_nothing_but_memory():
    training = {"steps": 3, "lr": 1e-2, "batch_size": 2}
    kept = train(llama(), Training(**training))
    model = llama()
    training_modes = []
    handle = model.model.layers[0].register_forward_pre_hook(lambda module, _: training_modes.append(module.training))
    computed = train(model, Training(**training, checkpointing=True))
    handle.remove()
    assert any(training_modes)
    assert not computed.training
    assert not computed.is_gradient_checkpointing
    for name in NAMES:
        torch.testing.assert_close(computed.get_parameter(name), kept.get_parameter(name), rtol=1e-5, atol=1e-6)


def test_nothing_moves_but_what_is_named():
    model = llama(dtype=torch.bfloat16)
    before = weights(model)
    train(model, Training(steps=2, lr=1e-2, batch_size=2, weight_decay=0.1))
    assert moved(model, before) == set(NAMES)


def test_the_reference_is_base_after_the_model_has_moved():
    model, asked = llama(), batch(corpora().forget, range(6), CPU)
    start = Start(model=model, corpora=corpora(), trained=NAMES)
    base = start.reference
    with torch.no_grad():
        before = score(model, asked)
    train(model, Training(steps=3, lr=1e-2, batch_size=2))
    with torch.no_grad():
        after = score(model, asked)
    assert torch.equal(base.score(asked).logits_BSV, before.logits_BSV)
    assert torch.equal(base.nll_B(asked), before.nll_B)
    assert (after.nll_B - before.nll_B).abs().max() > 0.05
    assert not base.score(asked).logits_BSV.requires_grad


def test_the_gradient_is_that_of_the_weighted_sum():
    """forget + 3 retain over the first hand of each, before anything is shaped or clipped."""
    model, data = llama(), corpora()
    seen = {}

    def keep(gradients):
        seen.update({name: one.clone() for name, one in gradients.items()})

    train(
        model, Training(steps=1, lr=1e-9, batch_size=2), data=data, retain_weight=3.0,
        forget=lambda asked: -score(model, asked).nll, shapes=Shapes(total=keep),
    )  # fmt: skip
    other = llama()
    free = [other.get_parameter(name).requires_grad_(True) for name in NAMES]
    asked = batch(data.forget, deal(6, 2, 0, 1), CPU)
    stays = batch(data.retain, deal(8, 2, 0, 1), CPU)
    expected = torch.autograd.grad(-score(other, asked).nll + 3 * score(other, stays).nll, free)
    for name, one in zip(NAMES, expected, strict=True):
        torch.testing.assert_close(seen[name], one, rtol=1e-4, atol=1e-6)


def test_the_forget_terms_shape_sees_it_alone():
    """What it takes away, the retain term puts none of back; without a retain term nothing moves."""

    def nothing(gradients):
        for one in gradients.values():
            assert one.norm() > 0
            one.zero_()

    model, alone = llama(), llama()
    before = weights(model)
    train(model, Training(steps=1, lr=1e-2, batch_size=2), shapes=Shapes(forget=nothing), retain=None)
    assert not moved(model, before)
    train(model, Training(steps=2, lr=1e-2, batch_size=2), shapes=Shapes(forget=nothing))
    train(alone, Training(steps=2, lr=1e-2, batch_size=2), forget=lambda asked: 0 * score(alone, asked).nll)
    assert same(model, alone)
    assert moved(model, before)


def test_weights_are_put_back_after_each_step():
    model = llama(dtype=torch.bfloat16)
    before = weights(model)

    def back(masters):
        for name, master in masters.weights.items():
            assert not torch.equal(master, before[name].float())
            master.copy_(before[name])

    train(model, Training(steps=2, lr=1e-2, batch_size=2), shapes=Shapes(project=back))
    assert not moved(model, before)


@pytest.mark.parametrize("term", ["forget", "retain"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_is_refused_before_it_moves_anything(term, value):
    model = llama()
    before = weights(model)
    with pytest.raises(NonFiniteError, match=f"the {term} loss is .* at step 0"):
        train(model, Training(steps=2), **{term: lambda asked: score(model, asked).nll * value})
    assert not moved(model, before)
    assert not any(one.requires_grad for one in model.parameters())


def test_the_rate_rises_and_falls():
    """10 steps of which 2 rise: 1/2, 1, then 8/8 ... 1/8; the last step is not lost."""
    training = Training(steps=10, lr=8.0, warmup=0.2)
    assert [training.rate(step) for step in range(10)] == [4, 8, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [Training(steps=1, lr=8.0).rate(0), Training(steps=4, lr=8.0, warmup=0.0).rate(0)] == [8, 8]


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"batch_size": 0}, {"accumulate": -1}, {"lr": 0.0}, {"lr": float("nan")}, {"lr": float("inf")},
     {"warmup": 1.0}, {"warmup": -0.1}, {"clip": 0.0}, {"clip": float("nan")}, {"weight_decay": -0.1}],
)  # fmt: skip
def test_hyperparameters_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="out of range"):
        Training(**wrong)
