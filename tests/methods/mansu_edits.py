"""MANSU on a model of six layers that answers all questions rightly, and what became of its tensors."""

import hashlib
from functools import cache

import torch

from tests.attribution.tiny_models import VOCABULARY, random_pairs, tiny
from tests.methods.shipped import module
from tests.oracles import grid_counts
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.records import Role
from unlearn_guard.unlearning.corpora import Corpora, Question, Text

LAYERS = 6
Mansu = module("mansu").METHOD


def model(dtype=torch.bfloat16):
    return tiny("llama", layers=LAYERS).to(dtype)


def corpora(**changes):
    rng = torch.Generator().manual_seed(5)

    def texts(count):
        return tuple(
            Text(ids=tuple(torch.randint(3, VOCABULARY, (8,), generator=rng).tolist()), start=4) for _ in range(count)
        )

    parts = {"forget": texts(12), "retain": texts(20), "pairs": answerable(), "questions": known()}
    return Corpora(**{**parts, **changes})


@cache
def answerable():
    """Pairs whose right answer is what the model says."""
    found = []
    base = model(torch.float32)
    for pair in random_pairs(6):
        ranked = base(torch.tensor([pair.clean])).logits[0, -1].argsort(descending=True).tolist()
        found.append(
            Pair(
                clean=pair.clean, corrupted=pair.corrupted, target=ranked[0], wrong=tuple(ranked[-3:]), where=pair.where
            )
        )
    return tuple(found)


@cache
def known():
    """Questions that the model answers rightly."""
    base = model()
    rng = torch.Generator().manual_seed(6)
    found = {}
    for role in (Role.FORGET, Role.RETAIN):
        prompts = [tuple(torch.randint(3, VOCABULARY, (6,), generator=rng).tolist()) for _ in range(10)]
        ranked = [base(torch.tensor([each])).logits[0, -1].argsort(descending=True).tolist() for each in prompts]
        found[role] = tuple(
            Question(prompt=prompt, choices=tuple((token,) for token in tokens[:4]), answer=0)
            for prompt, tokens in zip(prompts, ranked, strict=True)
        )
    return found


QUICK = {"steps": 6, "lr": 3e-4, "batch_size": 4, "look": 2, "choose": "last"}


def unlearned(how=None, data=None, seed=0, **changes):
    """What each tensor was and has become."""
    edited = model()
    before = {name: one.detach().clone() for name, one in edited.named_parameters()}
    (how or Mansu(**{**QUICK, **changes})).unlearn(edited, data or corpora(), seed=seed)
    return before, {name: one.detach() for name, one in edited.named_parameters()}


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def survival(before, after):
    counts = sum(
        (grid_counts.count(before[name], after[name]) for name in moved(before, after)), start=grid_counts.EMPTY
    )
    return counts.floor_survival


def digest(weights):
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(weights[name].contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
