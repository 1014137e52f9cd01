"""What is stored is answers: neither what is counted from them nor what a suite says of its tasks is read there."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.progress import Silent, Stopwatch
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.organism import base_path
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.reading import strict_json
from unlearn_guard.records import FULL, Role, TaskScore
from unlearn_guard.runs.store import Store
from unlearn_guard.scoring.evaluate import Answered
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.rendering import render
from unlearn_guard.scoring.suites import load_suite

TASK = "organism_forget"


class Counting(Bench):
    """Remembers which tasks the model was really asked."""

    def _ask(self, precision: str, intake: Any, artifact: Any, tasks: Sequence[str]) -> Iterator[Answered]:
        self.notes.extend(tasks)
        yield from super()._ask(precision, intake, artifact, tasks)


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render(load_suite("organism"), limit=12)


@pytest.fixture(scope="module")
def asked(rendered: Rendered, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TaskScore]:
    """A store with one score, and that score."""
    root = tmp_path_factory.mktemp("asked")
    return root, scored(bench(rendered, root))


@pytest.fixture
def root(asked: tuple[Path, TaskScore], tmp_path: Path) -> Path:
    return Path(shutil.copytree(asked[0], tmp_path / "store"))


@pytest.fixture
def before(asked: tuple[Path, TaskScore]) -> TaskScore:
    return asked[1]


def bench(rendered: Rendered, root: Path) -> Bench:
    return Counting(
        rendered=rendered,
        base=open_checkpoint(base_path()),
        calibration=Calibration(texts=()),
        placement=Placement(device_map="cpu", dtype=torch.float32),
        batch_size=4,
        store=Store(root),
        watch=Stopwatch(progress=Silent()),
    )


def scored(bench: Bench) -> TaskScore:
    (task,) = (each for each in bench.rendered.records if each.name == TASK)
    (score,) = bench.score("base", bench.base, FULL, (task,))
    return score


def stored(root: Path) -> Path:
    (path,) = root.rglob("*.json")
    return path


def with_key(bench: Bench, root: Path, change: Callable[[Any], Any]) -> None:
    """Edit the stored answers as somebody could who has the user's key."""
    path = stored(root)
    payload = change(json.loads(path.read_bytes())["payload"])
    bench.store.put_json(path.stem, payload)


def test_a_bench_for_another_dtype_has_the_tokenizer_of_the_one_it_comes_from(
    rendered: Rendered, tmp_path: Path
) -> None:
    home = bench(rendered, tmp_path)
    assert replace(home, home=home).tokenizer is home.tokenizer


@pytest.mark.parametrize(
    "today",
    [{"chance": 0.5}, {"role": Role.RETAIN}, {"measure": "privleak", "retrained": 0.4, "role": Role.PROBE}],
    ids=["chance", "role", "reference"],
)
def test_stored_answers_are_counted_as_the_suite_says_today(
    root: Path, before: TaskScore, rendered: Rendered, today: dict[str, Any]
) -> None:
    tasks = tuple(replace(each, task=replace(each.task, **today)) for each in rendered.tasks)
    second = bench(replace(rendered, tasks=tasks), root)
    after = scored(second)
    assert second.notes == [], "the same questions, so the same answers"
    assert after.task == replace(before.task, **today)
    assert after.samples == before.samples
    assert after.measurement == before.measurement


def test_the_store_holds_nothing_that_is_counted(root: Path) -> None:
    held = json.loads(stored(root).read_bytes())["payload"]
    assert len(held) == 12
    assert all(entry.keys() == {"id", "prompt", "target", "answers"} for entry in held)
    assert all(each.keys() == {"tokens", "greedy"} for entry in held for each in entry["answers"])


def test_answers_are_counted_by_the_task_s_own_code_each_time(
    root: Path, before: TaskScore, rendered: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert before.measurement.value > 0
    (task,) = (leaf.task for each in rendered.tasks if each.task.name == TASK for leaf in each.leaves)
    monkeypatch.setattr(task, "process_results", lambda document, results: {"acc": 0.0})
    again = bench(rendered, root)
    assert scored(again).measurement.value == 0
    assert again.notes == []


def test_other_likelihoods_make_another_count(root: Path, before: TaskScore, rendered: Rendered) -> None:
    """With the key, answers can be written; the count then follows from them, by hand: the target has the largest."""

    def lower_the_target(items: Any) -> Any:
        for item in items[:3]:
            item["answers"][int(item["target"])]["tokens"] = [-1000.0]
        return items

    again = bench(rendered, root)
    with_key(again, root, lower_the_target)
    after = scored(again)
    assert again.notes == []
    assert [sample.correct for sample in after.samples[:3]] == [0.0, 0.0, 0.0]
    assert after.samples[3:] == before.samples[3:]
    assert after.measurement.value == sum(sample.correct for sample in after.samples) / 12


def each_item(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def edit(items: Any) -> Any:
        change(items[0])
        return items

    return edit


UNFIT: dict[str, Callable[[Any], Any]] = {
    "a count beside them": each_item(lambda item: item.update(correct=0.0)),
    "another prompt": each_item(lambda item: item.update(prompt="0" * 64)),
    "another target": each_item(lambda item: item.update(target="none")),
    "another item": each_item(lambda item: item.update(id="organism_forget-7")),
    "a choice too few": each_item(lambda item: item["answers"].pop()),
    "a choice too many": each_item(lambda item: item["answers"].append(item["answers"][0])),
    "a token too many": each_item(lambda item: item["answers"][0]["tokens"].append(-1.0)),
    "no tokens": each_item(lambda item: item["answers"][0].update(tokens=[])),
    "a text": each_item(lambda item: item["answers"].__setitem__(0, {"text": "A"})),
    "a number that is none": each_item(lambda item: item["answers"][0].update(tokens=["-Infinity"])),
    "a truth for a number": each_item(lambda item: item["answers"][0].update(tokens=[True])),
    "every choice impossible": each_item(lambda item: [each.update(tokens=["-inf"]) for each in item["answers"]]),
    "greedy as a number": each_item(lambda item: item["answers"][0].update(greedy=1)),
    "an item too few": lambda items: items[1:],
    "another order": lambda items: items[::-1],
    "an object": lambda items: {"samples": items},
    "a score of an earlier version": lambda items: {"samples": items, "measurement": {"value": 0.0}, "truncated": 0},
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_what_is_no_answer_to_the_items_is_thrown_away_and_asked_anew(
    root: Path, before: TaskScore, rendered: Rendered, change: Callable[[Any], Any]
) -> None:
    again = bench(rendered, root)
    with_key(again, root, change)
    assert scored(again) == before
    assert again.notes == [TASK]
    assert len(again.store.warnings) == 1


def test_without_the_key_no_edit_changes_a_measurement(root: Path, before: TaskScore, rendered: Rendered) -> None:
    path = stored(root)
    envelope = json.loads(path.read_bytes())
    for item in envelope["payload"]:
        item["correct"] = 0.0
        item["answers"][int(item["target"])]["tokens"] = [-1000.0]
    envelope["sha256"] = strict_json.digest(strict_json.canonical(envelope["payload"]))
    path.write_bytes(strict_json.canonical(envelope))
    again = bench(rendered, root)
    assert scored(again) == before
    assert again.notes == [TASK]
