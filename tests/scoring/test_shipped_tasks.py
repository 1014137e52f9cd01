"""The shipped definitions ask what lm-eval's own ask, on fixed items, and plain lm-eval loads them too."""

import hashlib
import json
import random
import runpy
import shutil
import time
from pathlib import Path

import datasets
import pytest
from lm_eval.tasks import TaskManager

from tests.invented_data import SIZES, SUBJECTS, InventedHub, ifeval, mmlu, questions, vendor
from unlearn_guard.errors import SuiteError
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
    assert count(free, ["An oak."]) == {"prompt_level_strict_acc": True, "prompt_level_loose_acc": True}
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
    begin = time.process_time()
    rendered = render(load_suite(name), data_dir=data, limit=20)
    assert time.process_time() - begin < 1.0
    assert [task.name for task in rendered.records] == [spec.name for spec in load_suite(name).tasks]


def test_pull_fetches_exactly_the_splits_that_are_read(tmp_path):
    from unlearn_guard.scoring.pulling import pull

    hub = InventedHub()
    manifest = pull([load_suite("muse-news")], tmp_path, hub=hub)
    assert {entry[1:3] for entry in hub.asked} == {
        ("verbmem", "forget"),
        ("knowmem", "forget_qa"),
        ("knowmem", "forget_qa_icl"),
        ("knowmem", "retain_qa"),
        ("knowmem", "retain_qa_icl"),
        ("privleak", "forget"),
        ("privleak", "holdout"),
    }
    news = manifest.datasets["muse-bench/MUSE-News"]
    assert {entry[3] for entry in hub.asked} == {news.revision}
    assert news.licence == "cc-by-4.0"
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")}
    assert files == {f"muse-bench/MUSE-News/{file}" for file in news.files}


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


CHEMISTRY = f"""
version: 1
name: chemistry
title: Chemistry
description: WMDP's chemistry, without the thousand questions of MMLU.
forget: [{{task: wmdp_chem, metric: acc, chance: 0.25}}]
retain: [{{task: wmdp_chem_300, metric: acc, chance: 0.25}}]
include: [{TASKS / "wmdp"}]
"""


@pytest.fixture(scope="module")
def chemistry(tmp_path_factory):
    """A small suite and its data folder."""
    root = tmp_path_factory.mktemp("chemistry")
    (root / "chemistry.yaml").write_text(CHEMISTRY)
    vendor(root / "data", root / "chemistry.yaml")
    return root


@pytest.fixture
def vendored(chemistry, tmp_path):
    """The same, to spoil."""
    return Path(shutil.copytree(chemistry, tmp_path / "own"))


def rendered_from(root):
    return render(load_suite(root / "chemistry.yaml"), data_dir=root / "data")


def test_changed_vendored_bytes_are_refused(vendored):
    path = vendored / "data" / "cais" / "wmdp" / "wmdp-chem" / "test.parquet"
    rows = list(questions(SIZES["chem"]))
    rows[5] = {**rows[5], "answer": (rows[5]["answer"] + 1) % 4}
    datasets.Dataset.from_list(rows).to_parquet(path)
    with pytest.raises(SuiteError, match="changed or damaged") as caught:
        rendered_from(vendored)
    assert str(path) in str(caught.value)


def test_items_that_differ_from_those_pulled_are_refused(vendored):
    """The bytes may be those of the manifest, and the manifest forged; or the template may have changed."""
    path = vendored / "data" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tasks"]["wmdp_chem"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(SuiteError, match="does not ask what was pulled"):
        rendered_from(vendored)
    del manifest["tasks"]["wmdp_chem"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(SuiteError, match="does not say which items"):
        rendered_from(vendored)


def test_data_of_another_commit_than_the_task_names_is_refused(vendored):
    path = vendored / "data" / "manifest.json"
    path.write_text(path.read_text().replace("8b85378e501fe9b3fb2694b04bcd2970bc7c7235", "0" * 40))
    with pytest.raises(SuiteError, match="another commit") as caught:
        rendered_from(vendored)
    assert "8b85378e501fe9b3fb2694b04bcd2970bc7c7235, as the task says" in str(caught.value)


def test_vendored_data_is_checked_also_from_inside_its_folder(vendored, monkeypatch):
    """There `cais/wmdp` is a folder too, which a library would take without asking the manifest."""
    monkeypatch.chdir(vendored / "data")
    assert rendered_from(vendored).tasks[0].task.items == SIZES["chem"]
    path = vendored / "data" / "cais" / "wmdp" / "wmdp-chem" / "test.parquet"
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(SuiteError, match="changed or damaged"):
        rendered_from(vendored)


def test_a_folder_of_the_datasets_name_does_not_stand_in_for_it(vendored, monkeypatch):
    monkeypatch.chdir(vendored / "data")
    with pytest.raises(SuiteError, match="would be read in place of the dataset cais/wmdp"):
        render(load_suite(vendored / "chemistry.yaml"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [("{revision: main}", "'main' of some/thing is not a commit"), ("{data_files: a.csv}", "say data_files")],
)
def test_what_vendored_data_cannot_keep_is_not_pulled(tmp_path, world, options, expected):
    from unlearn_guard.scoring.pulling import pull

    definition = f"task: invented_hub\ninclude: lettered.yaml\ndataset_path: some/thing\ndataset_kwargs: {options}\n"
    (world.parent.parent / "invented" / "hub.yaml").write_text(definition)
    world.write_text(world.read_text().replace("task: invented_lettered", "task: invented_hub"))
    with pytest.raises(SuiteError, match=expected):
        pull([load_suite(world)], tmp_path / "data", hub=InventedHub())


@pytest.mark.parametrize(
    ("suite", "spoil", "expected"),
    [
        ("tofu", lambda root: None, "does not hold dataset locuslab/TOFU"),
        ("wmdp-bio", lambda root: None, "does not hold wmdp-bio/test.parquet"),
        ("chemistry", lambda root: (root / "manifest.json").unlink(), "cannot be read"),
        ("chemistry", lambda root: (root / "manifest.json").write_text('{"schema": "x"}'), "is not a manifest"),
        ("chemistry", lambda root: (root / "cais/wmdp/wmdp-chem/test.parquet").unlink(), "cannot be read"),
    ],
)
def test_missing_data_says_what_to_run(vendored, suite, spoil, expected):
    spoil(vendored / "data")
    with pytest.raises(SuiteError, match=expected) as caught:
        render(load_suite(suite, [vendored]), data_dir=vendored / "data")
    assert "unlearn-guard data pull SUITE --data-dir" in str(caught.value)


def test_an_unpinned_dataset_is_pinned_by_the_pull(tmp_path, world):
    from unlearn_guard.scoring.pulling import pull

    definition = "task: invented_hub\ninclude: lettered.yaml\ndataset_path: some/thing\ndataset_kwargs: null\n"
    (world.parent.parent / "invented" / "hub.yaml").write_text(definition)
    world.write_text(world.read_text().replace("task: invented_lettered", "task: invented_hub"))
    hub = InventedHub()
    hub.rows["some/thing", None, "test"] = questions(5)
    manifest = pull([load_suite(world)], tmp_path / "data", hub=hub)
    assert manifest.datasets["some/thing"].revision == hub.commit("some/thing")
    assert render(load_suite(world), data_dir=tmp_path / "data").tasks[0].task.items == 5


def test_a_dataset_wanted_at_two_revisions_is_refused(vendored):
    from unlearn_guard.scoring.pulling import pull

    path = vendored / "data" / "manifest.json"
    path.write_text(path.read_text().replace("8b85378e501fe9b3fb2694b04bcd2970bc7c7235", "0" * 40))
    with pytest.raises(SuiteError, match="two revisions"):
        pull([load_suite("wmdp-bio")], vendored / "data", hub=InventedHub())


def test_a_hub_that_fails_is_named_with_the_dataset(tmp_path):
    from unlearn_guard.scoring.pulling import pull

    hub = InventedHub()
    del hub.rows["locuslab/TOFU", "retain_perturbed", "train"]
    with pytest.raises(SuiteError, match=r"locuslab/TOFU \(retain_perturbed, train\) cannot be fetched: KeyError"):
        pull([load_suite("tofu")], tmp_path, hub=hub)


def test_a_hub_that_does_not_answer_is_not_asked_again(monkeypatch):
    """Without a network the libraries would try for half a minute."""
    import huggingface_hub

    from unlearn_guard.scoring import hub

    class Dead:
        asked = 0

        def head(self, *_, **__):
            Dead.asked += 1
            raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Dead)
    hub.reachable.cache_clear()
    begin = time.monotonic()
    with pytest.raises(SuiteError, match="cais/wmdp"):
        render(load_suite("wmdp-bio"))
    with pytest.raises(SuiteError, match="cais/wmdp"):
        render(load_suite("wmdp-bio"))
    assert time.monotonic() - begin < 3
    assert Dead.asked == 1
    hub.reachable.cache_clear()
