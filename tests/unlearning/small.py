"""Small corpora, and a model that a training can move within a second."""

import copy
import random
from functools import cache, partial

import torch

from tests.attribution.tiny_models import VOCABULARY, tiny
from unlearn_guard.unlearning.corpora import Corpora, Text
from unlearn_guard.unlearning.loop import Training, fit
from unlearn_guard.unlearning.scoring import score
from unlearn_guard.unlearning.tensors import every

CPU = torch.device("cpu")


def llama(*, dtype=torch.float32, **changes):
    """A randomly initialised Llama of 3 layers whose attention has biases."""
    return tiny("llama", **{"initializer_range": 0.1, **changes}).to(dtype)


@cache
def _taught():
    model, data = llama(), corpora()
    training = Training(steps=40, lr=1e-2, batch_size=6)
    nll = partial(_nll, model)
    fit(model, data, training, trained=every(model), forget=nll, retain=nll, seed=0)
    return model


def _nll(model, asked):
    return score(model, asked).nll


def taught(*, dtype=torch.float32):
    """The same Llama after it has learnt the texts of `corpora()` by heart: there is something to unlearn."""
    return copy.deepcopy(_taught()).to(dtype)


def texts(count, *, seed, prompt=(3, 6), answer=(1, 4), instead=False):
    """Prompts and answers of random tokens, of lengths within these limits."""
    rng = random.Random(seed)

    def some(limits):
        return tuple(rng.randrange(3, VOCABULARY) for _ in range(rng.randint(*limits)))

    found = []
    for _ in range(count):
        asked = some(prompt)
        other = asked + some(answer) if instead else None
        found.append(Text(ids=asked + some(answer), start=len(asked), instead=other))
    return tuple(found)


def corpora(*, forget=6, retain=8, refused=5, same_length=False):
    limits = {"prompt": (4, 4), "answer": (2, 2)} if same_length else {}
    return Corpora(
        forget=texts(forget, seed=1, instead=True, **limits),
        retain=texts(retain, seed=2, **limits),
        refused=texts(refused, seed=3, **limits),
    )


def weights(model):
    """Every parameter by name, copied."""
    return {name: one.detach().clone() for name, one in model.named_parameters()}


def moved(model, before):
    """Names of the parameters whose bytes are not what they were."""
    return {name for name, one in model.named_parameters() if not torch.equal(one, before[name])}
