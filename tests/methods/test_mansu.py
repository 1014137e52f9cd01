import hashlib
import importlib.util
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.attribution.tiny_models import VOCABULARY, random_pairs, tiny
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.errors import SuiteError, UsageError
from unlearn_guard.quantizers import grid
from unlearn_guard.records import Role
from unlearn_guard.unlearning.corpora import Corpora, Question, Text
from unlearn_guard.unlearning.fisher import fisher, quantile
from unlearn_guard.unlearning.session import Session, opened
from unlearn_guard.unlearning.tensors import linears, mlps

LAYERS = 6


def method():
    spec = importlib.util.spec_from_file_location("mansu", Path(__file__).parents[2] / "methods" / "mansu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.METHOD


Mansu = method()


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
    counts = sum((grid.count(before[name], after[name]) for name in moved(before, after)), start=grid.EMPTY)
    return counts.floor_survival


def digest(weights):
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(weights[name].contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize("changes", [{}, {"share": 0.3}, {"settle": 5}, {"share": 0.2, "settle": 5, "choose": "best"}])
def test_every_changed_weight_of_the_circuit_survives(changes):
    before, after = unlearned(**{"drop": 1.0, **changes})
    circuit = Mansu(**QUICK).layers(model(), corpora(), 0)
    assert len(circuit) == 2  # 10 of 32 scaled to six layers
    assert moved(before, after) == set(mlps(model(), circuit))
    assert all(each.dtype == torch.bfloat16 for each in after.values())
    assert survival(before, after) == 1.0


def test_a_without_floor_most_updates_stay_in_their_cells():
    before, after = unlearned(floor="none")
    assert survival(before, after) < 0.9


def test_the_papers_floor_leaves_some_behind():
    plain, floored = (survival(*unlearned(floor=name)) for name in ("none", "paper"))
    assert plain < floored < 1.0


def test_b_the_projection_holds_what_retention_needs():
    """What the mask holds is bit for bit base's; without it, those very weights move."""
    names = mlps(model(), Mansu(**QUICK).layers(model(), corpora(), 0))
    found = fisher(model(), corpora().retain, names)
    limit = quantile(found.values(), 0.9)
    held = {name: each > limit for name, each in found.items()}
    assert 0.05 < sum(int(each.sum()) for each in held.values()) / sum(each.numel() for each in held.values()) <= 0.1
    before, after = unlearned(tau=0.9, floor="none")
    assert all(torch.equal(before[name][held[name]], after[name][held[name]]) for name in names)
    before, free = unlearned(projection="none", floor="none")
    assert any(not torch.equal(before[name][held[name]], free[name][held[name]]) for name in names)


def test_c_random_and_inverse_circuits():
    ranked = Mansu(k=LAYERS).layers(model(), corpora(), 0)
    assert sorted(ranked) == list(range(LAYERS))
    assert Mansu(k=2).layers(model(), corpora(), 0) == ranked[:2]
    assert Mansu(k=2, circuit="inverse").layers(model(), corpora(), 0) == ranked[-2:]
    drawn = {Mansu(k=2, circuit="random").layers(model(), corpora(pairs=()), seed) for seed in range(8)}
    assert len(drawn) > 1
    assert all(len(set(each)) == 2 for each in drawn)
    before, after = unlearned(circuit="inverse", k=1)
    assert moved(before, after) == set(mlps(model(), ranked[-1:]))


def test_each_loss_is_another_edit_of_the_same_circuit():
    texts = tuple(replace(each, instead=(*each.ids[:4], *reversed(each.ids[4:]))) for each in corpora().forget)
    before, ascended = unlearned()
    edits = [unlearned(loss=loss, data=corpora(forget=texts))[1] for loss in ("npo", "dpo", "simpo")]
    assert all(moved(before, ascended) == moved(before, each) != set() for each in edits)
    assert len({digest(each) for each in (ascended, *edits)}) == 4


@pytest.mark.parametrize("loss", ["dpo", "simpo"])
def test_a_preference_needs_something_to_prefer(loss):
    with pytest.raises(SuiteError, match="what to answer instead"):
        unlearned(loss=loss)


def test_fisher_information_is_taken_on_as_many_texts_as_are_weighed():
    asked = []
    module = sys.modules[Mansu.__module__]
    first = module.fisher
    module.fisher = lambda model, texts, names: asked.append(texts) or first(model, texts, names)
    try:
        for weighed in (5, 500):
            unlearned(weighed=weighed)
    finally:
        module.fisher = first
    assert [len(texts) for texts in asked] == [5, 20]
    assert len(set(asked[1])) == 20


def test_d_global_trains_and_floors_every_linear_weight():
    before, after = unlearned(projection="global", data=corpora(pairs=()))
    assert moved(before, after) == set(linears(model()))
    assert survival(before, after) == 1.0


def test_share_is_of_all_the_circuits_weights():
    for share in (0.05, 0.25):
        before, after = unlearned(share=share)
        names = moved(before, after)
        changed = sum(int((before[name] != after[name]).sum()) for name in names)
        assert changed / sum(before[name].numel() for name in names) == pytest.approx(share, abs=0.02)


def test_share_keeps_the_updates_that_came_furthest():
    """Those that had left their cells already are the first to stay."""
    before, plain = unlearned(floor="none")
    _, floored = unlearned(share=0.25)
    names = moved(before, plain)
    crossed = {name: grid.codes(before[name]).code != grid.codes(plain[name]).code for name in names}
    kept = sum(int((crossed[name] & (floored[name] != before[name])).sum()) for name in names)
    assert kept / sum(int(each.sum()) for each in crossed.values()) > 0.9


def test_settling_moves_only_what_survived():
    before, floored = unlearned(share=0.2)
    _, settled = unlearned(share=0.2, settle=5)
    assert moved(floored, settled)
    for name in moved(before, floored):
        assert torch.equal(settled[name] == before[name], floored[name] == before[name])


def test_the_best_state_forgets_and_retains():
    """By the questions, where the last state has lost more than it may and forgotten less."""
    how = {"steps": 20, "lr": 1e-2, "floor": "none"}
    best = unlearned(choose="best", look=1, drop=0.3, **how)[1]
    last = unlearned(choose="last", **how)[1]
    assert right(last, Role.RETAIN) < 0.7 <= right(best, Role.RETAIN)
    assert right(best, Role.FORGET) < right(last, Role.FORGET) < 1.0


def right(weights, role):
    from unlearn_guard.unlearning.scoring import accuracy

    judged = model()
    judged.load_state_dict(weights, strict=False)
    return accuracy(judged, known()[role])


def test_no_state_that_retains_enough_is_an_error():
    with pytest.raises(UsageError, match="no state of the training retains"):
        unlearned(choose="best", lr=0.5, drop=0.0, clip=None)


class _Killed(Exception):  # noqa: N818 - no error
    pass


@pytest.mark.parametrize("at", [5, 9])
def test_a_killed_training_ends_with_the_same_bytes(tmp_path, at):
    how = {"choose": "best", "drop": 1.0, "settle": 6, "share": 0.5}
    whole = digest(unlearned(**how)[1])
    session = Session(folder=tmp_path, save_seconds=0.0)
    taken = []
    session.record = lambda point: _kill(taken, point, at)
    with pytest.raises(_Killed), opened(session):
        unlearned(**how)
    resumed = Session(folder=tmp_path, save_seconds=0.0)
    with opened(resumed):
        assert digest(unlearned(**how)[1]) == whole
    assert len(taken) == at


def _kill(taken, point, at):
    taken.append(point)
    if len(taken) == at:
        raise _Killed


def test_the_same_seed_gives_the_same_bytes_and_another_others():
    assert digest(unlearned()[1]) == digest(unlearned()[1])
    assert digest(unlearned()[1]) != digest(unlearned(seed=1)[1])


def test_what_is_missing_is_said_before_anything_is_trained():
    with pytest.raises(UsageError, match="no prompt pairs"):
        unlearned(data=corpora(pairs=()))
    with pytest.raises(UsageError, match="no retain questions"):
        unlearned(data=corpora(questions={Role.FORGET: known()[Role.FORGET]}), choose="best")
    with pytest.raises(UsageError, match="no forget questions"):
        unlearned(data=corpora(questions={Role.RETAIN: known()[Role.RETAIN]}), choose="best")
    wrong = tuple(
        Pair(clean=p.clean, corrupted=p.corrupted, target=p.wrong[0], wrong=(p.target,), where=p.where)
        for p in answerable()
    )
    with pytest.raises(UsageError, match="there is no circuit to find"):
        unlearned(data=corpora(pairs=wrong))
    with pytest.raises(UsageError, match="k is 7"):
        unlearned(k=7)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"floor": "cel"}, "floor is 'cel'"),
        ({"circuit": "eep"}, "circuit is"),
        ({"projection": "off"}, "projection is"),
        ({"choose": "first"}, "choose is"),
        ({"loss": "none"}, "loss is"),
        ({"weighed": 0}, "out of range"),
        ({"tau": 99}, "out of range"),
        ({"share": 0}, "out of range"),
        ({"steps": 0}, "steps"),
        ({"settle": 5, "floor": "none"}, "settle trains above the cell floor"),
        ({"weight_decay": 0.1}, "weight_decay would move"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(changes, says):
    with pytest.raises(UsageError, match=says):
        Mansu(**changes)
