"""Which dtypes are asked, and which items: neither is the maker's to choose."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.oracles.made_scores import made_task
from unlearn_guard.checking.other_dtypes import Elsewhere, declared_dtype, only
from unlearn_guard.checking.request import DTYPE_ITEMS, Request
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.organism import base_path
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.scoring.questions import Item, Leaf, RenderedTask


def rendered(names: list[str], second: tuple[str, ...] = ()) -> RenderedTask:
    def leaf(name: str, ids: Any) -> Leaf:
        items = tuple(Item(id=each, prompt=f"p{each}", target="A", requests=()) for each in ids)
        return Leaf(name=name, task=None, metric="acc", filter="none", items=items)

    leaves = (leaf("first", names), leaf("second", second)) if second else (leaf("first", names),)
    return RenderedTask(task=made_task(len(names) + len(second)), leaves=leaves)


def elsewhere(
    digest: str = "a", *, items: int | None = 5, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Elsewhere:
    bench: Any = SimpleNamespace(placement=Placement(dtype=dtype, device_map="cpu"))
    candidate: Any = SimpleNamespace(checkpoint=SimpleNamespace(digest=digest, path=base_path()))
    return Elsewhere(bench=bench, candidate=candidate, items=items, seed=seed)


def ids(task: RenderedTask) -> list[str]:
    return [item.id for item in task.items]


NAMES = [f"quiz-{number}" for number in range(50)]


def test_a_sample_is_the_candidate_s_own() -> None:
    """Other weights, another seed: other items. The same: the same, in the task's order, however that is."""
    sampled = ids(elsewhere()._sampled(rendered(NAMES)))
    assert sampled == ids(elsewhere()._sampled(rendered(NAMES)))
    assert len(sampled) == 5
    assert sampled == sorted(sampled, key=NAMES.index)
    assert set(sampled) == set(ids(elsewhere()._sampled(rendered(NAMES[::-1]))))
    assert sampled != ids(elsewhere("b")._sampled(rendered(NAMES)))
    assert sampled != ids(elsewhere(seed=1)._sampled(rendered(NAMES)))


def test_what_load_in_4bit_mixes_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As declared, save for the products: that is what a user has who names a compute dtype and nothing else."""
    asked = elsewhere()
    monkeypatch.setattr(Elsewhere, "declared", "float32")
    assert asked.settings("full") == ("float16", "bfloat16")
    assert asked.settings("nf4") == ("float16", "bfloat16", "float16-in-float32", "bfloat16-in-float32")
    assert asked.stages(["full", "nf4", "awq"]) == 6
    monkeypatch.setattr(Elsewhere, "declared", "bfloat16")
    assert asked.settings("nf4") == ("bfloat16", "float16", "float16-in-bfloat16", "float32-in-bfloat16")


def test_over_many_candidates_every_item_has_its_turn() -> None:
    """5 of 50 items for each of 400 candidates: 40 times each, with a deviation of 6."""
    counts = dict.fromkeys(NAMES, 0)
    for number in range(400):
        for each in ids(elsewhere(str(number))._sampled(rendered(NAMES))):
            counts[each] += 1
    assert all(15 <= count <= 65 for count in counts.values()), counts


@pytest.mark.parametrize("items", [None, 50, 100])
def test_all_items_are_the_task_itself(items: int | None) -> None:
    """So that its answers are found in the store, where a run in that dtype left them."""
    whole = rendered(NAMES)
    assert elsewhere(items=items)._sampled(whole) is whole


def test_part_of_a_task_is_another_task() -> None:
    whole = rendered(NAMES, ("other-0", "other-1"))
    part = only(whole, ["quiz-3", "other-1"])
    assert ids(part) == ["quiz-3", "other-1"]
    assert part.task == replace(whole.task, items=2, digest=part.task.digest)
    assert len({whole.task.digest, part.task.digest, only(whole, ["quiz-4", "other-1"]).task.digest}) == 3
    assert [leaf.name for leaf in only(whole, ["other-1"]).leaves] == ["second"]


def test_a_request_asks_a_hundred_items_unless_told_otherwise() -> None:
    assert DTYPE_ITEMS == Request(checkpoint="x").dtype_items == 100


@pytest.mark.parametrize(
    ("dtype", "others"),
    [
        (torch.float32, ("bfloat16", "float16")),
        (torch.bfloat16, ("float16", "float32")),
        (torch.float16, ("bfloat16", "float32")),
    ],
)
def test_every_dtype_but_the_run_s_own_is_asked(dtype: torch.dtype, others: tuple[str, ...]) -> None:
    found = elsewhere(dtype=dtype)
    assert found.declared == "bfloat16"
    assert found.dtypes == others
    assert found.stages(("full", "nf4", "gptq")) == 6  # at nf4 also float16 and float32 in what it declares


def test_the_declared_one_is_asked_whatever_it_is(copied: Path) -> None:
    _configure(copied, dtype="float64")
    found = elsewhere()
    found.candidate.checkpoint.path = copied  # type: ignore[misc]  # a namespace
    assert found.dtypes == ("float64", "float16", "bfloat16")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(base_path(), tmp_path / "copy"))


def _configure(path: Path, **more: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")} | more
    (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"dtype": "float16"}, "float16"),
        ({"torch_dtype": "float16"}, "float16"),  # transformers 4's name
        ({"dtype": "float32", "torch_dtype": "float16"}, "float32"),
        ({"dtype": None}, "float16"),
        ({}, "float16"),
    ],
    ids=str,
)
def test_what_is_declared_is_what_a_user_gets(said: dict[str, Any], expected: str, copied: Path) -> None:
    """The stored tensors, which decide where config.json is silent, are float16."""
    tensors = {name: each.half() for name, each in load_file(copied / "model.safetensors").items()}
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    _configure(copied, **said)
    assert declared_dtype(open_checkpoint(copied).checkpoint.path) == expected
    assert AutoModelForCausalLM.from_pretrained(copied, dtype="auto").dtype == getattr(torch, expected)
