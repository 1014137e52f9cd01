"""Data that was pulled: exactly what is read, and nothing that was changed since."""

import json
import shutil
import time
from pathlib import Path

import datasets
import pytest

from tests.invented_data import SIZES, InventedHub, questions, vendor
from unlearn_guard.errors import SuiteError
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.suites import load_suite


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


CHEMISTRY = f"""
version: 1
name: chemistry
title: Chemistry
description: WMDP's chemistry, without the thousand questions of MMLU.
forget: [{{task: wmdp_chem, metric: acc, chance: 0.25}}]
retain: [{{task: wmdp_chem_300, metric: acc, chance: 0.25}}]
include: [{bundled("tasks") / "wmdp"}]
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
