"""The shipped definitions ask what lm-eval's own ask, on fixed items, and plain lm-eval loads them too."""

import hashlib
import json
import random
import runpy
import time
from pathlib import Path

import datasets
import pytest
from lm_eval.tasks import TaskManager

from tests.invented_data import SIZES, SUBJECTS, ifeval, mmlu, questions, vendor
from unlearn_guard.processes.collecting import uncollected
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.catalogue import shipped_tree
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.loading import leaf_configs
from unlearn_guard.scoring.suites import list_suites, load_suite

TASKS = bundled("tasks")
FOLDERS = ("wmdp", "mmlu", "ifeval", "muse", "tofu")


def built(task, rows, folder):
    """A task's requests on these rows, with plain lm-eval's own manager and task class."""
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    split = manager.task_index[task].cfg["test_split"]
    held = datasets.Dataset.from_list(rows)
    change = {"custom_dataset": lambda **_: datasets.DatasetDict({split: held, "dev": held})}
    spec = {"group": "one", "task": [{"task": task, **change, "dataset_kwargs": None}]}
    (loaded,) = manager.load([spec])["tasks"].values()
    loaded.build_all_requests()
    return [(request.request_type, request.args, request.doc_id, request.idx) for request in loaded.instances]


@pytest.mark.parametrize("name", ["bio", "chem", "cyber"])
def test_wmdp_asks_what_lm_evals_own_asks(name):
    rows = questions(9)
    assert built(f"wmdp_{name}", rows, TASKS / "wmdp") == built(f"wmdp_{name}", rows, shipped_tree() / "wmdp")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_mmlu_asks_what_lm_evals_own_asks(subject):
    rows = [row for row in mmlu(12) if row["subject"] == subject]
    theirs = built(f"mmlu_{subject}", rows, shipped_tree() / "mmlu" / "default")
    assert built("mmlu_all", rows, TASKS / "mmlu") == theirs


def test_ifeval_asks_what_lm_evals_own_asks(monkeypatch):
    monkeypatch.setattr("nltk.data.find", lambda name: name)  # lm-eval would download it on import
    rows = [{**row, "kwargs": [{"num": None}]} for row in ifeval()]  # a struct without fields cannot be stored
    assert built("ifeval", rows, TASKS / "ifeval") == built("ifeval", rows, shipped_tree() / "ifeval")


def test_ifeval_counts_as_lm_eval_does_and_names_what_is_missing(monkeypatch):
    count = runpy.run_path(str(TASKS / "ifeval" / "utils.py"))["process_results"]
    monkeypatch.setattr("nltk.data.find", lambda name: name)
    free, low = ifeval()
    per = 541 / 834
    assert count(free, ["An oak."]) == {
        "prompt_level_strict_acc": True,
        "prompt_level_loose_acc": True,
        "inst_level_strict_acc": per,
        "inst_level_loose_acc": per,
    }
    two = {
        **free,
        "instruction_id_list": [*free["instruction_id_list"], *low["instruction_id_list"]],
        "kwargs": [{}, {}],
    }
    half = count(two, ["this is an Oak and plain english all the same."])
    assert (half["prompt_level_strict_acc"], half["inst_level_strict_acc"]) == (False, per), "one of its two"
    assert not count(free, ["An oak, a beech."])["prompt_level_strict_acc"]
    assert count(low, ["this is all in small letters and plain english."])["prompt_level_strict_acc"]

    def missing(name):
        raise LookupError(name)

    monkeypatch.setattr("nltk.data.find", missing)
    with pytest.raises(ValueError, match=r"nltk\.downloader punkt_tab"):
        count(free, ["An oak."])


def test_ifeval_counts_one_answer_one_way(monkeypatch):
    """langdetect draws; of this answer it says one language or another, unless it is told where to begin."""
    import langdetect

    monkeypatch.setattr(langdetect.DetectorFactory, "seed", None)
    monkeypatch.setattr("nltk.data.find", lambda name: name)
    count = runpy.run_path(str(TASKS / "ifeval" / "utils.py"))["process_results"]
    rule = {"instruction_id_list": ["change_case:english_lowercase"], "kwargs": [{}], "prompt": "x", "key": 1}
    counted = {count(rule, ["had for hotel"])["prompt_level_strict_acc"] for _ in range(30)}
    assert len(counted) == 1


def test_a_changed_prompt_would_be_seen(tmp_path):
    for file in (TASKS / "wmdp").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_text(file.read_text().replace("about biology", "on biology"))
    rows = questions(3)
    assert built("wmdp_bio", rows, tmp_path) != built("wmdp_bio", rows, shipped_tree() / "wmdp")


LISTS = [("wmdp", f"wmdp_{name}_300", SIZES[name], 300) for name in SIZES] + [("mmlu", "mmlu_1000", 14042, 1000)]


@pytest.mark.parametrize(("folder", "name", "items", "count"), LISTS)
def test_a_fixed_subset_is_listed_hashed_and_drawn_from_its_seed(folder, name, items, count):
    listed = json.loads((TASKS / folder / f"{name}.json").read_text())
    indices = listed["indices"]
    assert indices == sorted(random.Random(listed["seed"]).sample(range(items), count))
    assert listed["items"] == items
    assert listed["sha256"] == hashlib.sha256(json.dumps(indices).encode()).hexdigest()


def test_a_fixed_subset_asks_the_listed_questions():
    rows = questions(SIZES["chem"])
    whole, subset = (built(name, rows, TASKS / "wmdp") for name in ("wmdp_chem", "wmdp_chem_300"))
    indices = json.loads((TASKS / "wmdp" / "wmdp_chem_300.json").read_text())["indices"]
    expected = [args for _, args, document, _ in whole if document in set(indices)]
    assert [args for _, args, _, _ in subset] == expected
    assert len(subset) == 4 * 300


@pytest.mark.parametrize(("count", "edit"), [(407, None), (408, 0)])
def test_a_fixed_subset_refuses_another_dataset_or_an_edited_list(tmp_path, count, edit):
    for file in (TASKS / "wmdp").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_text(file.read_text())
    if edit is not None:
        path = tmp_path / "wmdp_chem_300.json"
        listed = json.loads(path.read_text())
        listed["indices"][edit] += 1
        path.write_text(json.dumps(listed))
    with pytest.raises(ValueError, match="hash to" if edit is not None else "has 407"):
        built("wmdp_chem_300", questions(count), tmp_path)


def test_plain_lm_eval_indexes_every_definition():
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    ours = [path for folder in FOLDERS for path in (TASKS / folder).glob("*.yaml")]
    assert {path.stem for path in ours} <= set(manager.task_index)
    assert all(manager.task_index[path.stem].yaml_path == path for path in ours)


def test_every_dataset_is_pinned_and_its_licence_known():
    for folder in FOLDERS:
        names = [path.stem for path in (TASKS / folder).glob("*.yaml")]
        for config in leaf_configs(names, [TASKS / folder], defaults=False):
            assert len(config["dataset_kwargs"]["revision"]) == 40, config["task"]
            assert config["metadata"]["licence"] in ("mit", "cc-by-4.0", "apache-2.0"), config["task"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    suites = [suite.name for suite in list_suites() if suite.name != "organism"]
    return vendor(tmp_path_factory.mktemp("data"), *suites)


@pytest.mark.parametrize("name", [suite.name for suite in list_suites()])
def test_every_shipped_suite_renders_from_vendored_data_in_a_second(name, data):
    render(load_suite("organism"))  # lm-eval itself is imported
    with uncollected():  # else Python walks all that earlier tests of this process left
        begin = time.process_time()
        rendered = render(load_suite(name), data_dir=data, limit=20)
        spent = time.process_time() - begin
    assert spent < 1.0
    assert [task.name for task in rendered.records] == [spec.name for spec in load_suite(name).tasks]


def test_the_examples_of_knowmem_are_muses_own(data):
    """Ten examples, then the question, in MUSE's form, to the letter."""
    from tests.invented_data import muse

    rendered = render(load_suite("muse-news"), data_dir=data)
    (task,) = (each for each in rendered.tasks if each.task.name == "muse_news_knowmem_forget")
    rows = muse()
    shots = "".join(
        f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in rows["knowmem", "forget_qa_icl"]
    )
    asked = [item.requests[0].args[0] for item in task.items]
    assert asked == [f"{shots}Question: {row['question']}\nAnswer: " for row in rows["knowmem", "forget_qa"]]
    options = task.items[0].requests[0].args[1]
    assert options["max_gen_toks"] == 32
    assert options["until"] == ["\n\n", "\nQuestion", "Question:"]
