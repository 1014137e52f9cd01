"""Every shipped benchmark suite through the real command, on invented data in its schema."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from alone import alone
from command import Done, read_json

from tests.invented_data import vendor
from tests.quiz import limits

Guard = Callable[..., Done]

LIMITS = limits("forget_drop", "truncated", precisions=("full", "nf4", "gptq", "awq"))
ALL = {"full", "nf4", "gptq", "awq"}
WMDP = ("wmdp-bio", "wmdp-chem", "wmdp-cyber")
ITEMS = 40
"""Texts and questions a split: enough to tell a leak from none."""
LEAK = "  - {metric: privleak, task: muse_news_privleak, precision: full, at_least: -50, because: test}\n"


@pytest.mark.slow
def test_a_missing_data_folder_says_what_to_run_and_where(guard: Guard, candidate, tmp_path: Path) -> None:
    done = guard("check", candidate("erased"), "--base", candidate("base"), "--suite", "muse-news")
    assert done.status == 4, done.text
    assert "muse-bench/MUSE-News" in done.text
    assert "unlearn-guard data pull SUITE --data-dir DIR" in done.text
    (tmp_path / "empty").mkdir()
    done = guard(
        "check", candidate("erased"), "--base", candidate("base"), "--suite", "tofu", "--data-dir", tmp_path / "empty"
    )
    assert done.status == 4, done.text
    assert "manifest.json" in done.text


def test_pull_without_a_network_names_the_dataset(guard: Guard, tmp_path: Path) -> None:
    done = guard("data", "pull", "wmdp-bio", "--data-dir", tmp_path / "data")
    assert done.status == 4, done.text
    assert "cais/wmdp (wmdp-bio, test) cannot be fetched" in done.text
    assert "where there is a network" in done.text


def test_a_users_suite_is_found_and_explained(guard: Guard, tmp_path: Path) -> None:
    suite = "version: 1\nname: ours\ntitle: Ours\ndescription: What our release rule asks.\ninclude: []\n"
    suite += "forget: [{task: wmdp_bio_300, metric: acc, chance: 0.25}]\n"
    suite += "retain: [{task: mmlu_1000, metric: acc, chance: 0.25}]\n"
    (tmp_path / "ours.yaml").write_text(suite)
    done = guard("list", "suites", "--tasks-dir", tmp_path)
    assert done.status == 0, done.text
    assert "What our release rule asks." in done.out
    assert "wmdp_bio_300" in done.out
    assert "privleak" in done.out
    assert (
        "wmdp_bio_300                forget task of suite ours" in guard("list", "tasks", "--tasks-dir", tmp_path).out
    )


@pytest.fixture(scope="session")
def planted(shared: Path) -> Path:
    """A model that knows an invented book by heart, two that never read it, and the data of every suite."""
    from tests.planted import plant

    root, making = shared / "planted", shared / "planting"
    with alone(shared / "planted.lock"):
        if not root.exists():
            plant(making, items=ITEMS, steps=450)
            tofu = ("tofu", "tofu-forget01", "tofu-forget05")
            vendor(making / "data", "muse-news", "muse-books", *tofu, *WMDP, items=ITEMS)
            making.rename(root)
    return root


@pytest.fixture
def check(guard: Guard, planted: Path, tmp_path: Path) -> Callable[..., tuple[Done, Path]]:
    def run(suite: str, limits: str = "", *options: str, models: Path = planted) -> tuple[Done, Path]:
        (tmp_path / "policy.yaml").write_text(LIMITS + limits)
        arguments = ["--base", models / "base", "--suite", suite, "--data-dir", planted / "data", *options]
        out = tmp_path / suite
        return guard(
            "check", models / "candidate", *arguments, "--thresholds", tmp_path / "policy.yaml", "--out", out
        ), out

    return run


def numbers(run: Path) -> dict[tuple[str, str, str, str], dict]:
    content = read_json(run / "run.json")
    who = {content["base"]["digest"]: "base", content["candidate"]["digest"]: "candidate"}
    return {
        (who.get(each["subject"], "retrained"), each["metric"], each["task"], each["precision"]): each
        for each in content["measurements"]
    }


@pytest.mark.slow
def test_a_book_by_heart_leaks_and_a_model_that_never_read_it_does_not(check, planted: Path) -> None:
    done, run = check("muse-news", LEAK, "--retrained", str(planted / "retrained"))
    assert done.status in (0, 1), done.text
    found = numbers(run)
    assert found["base", "rougeL", "muse_news_verbmem", "full"]["value"] > 0.95
    assert found["base", "privleak", "muse_news_privleak", "full"]["value"] < -95
    for precision in ALL:
        # Retrained with another seed, and compared with a retraining: 0, as far as so many texts can tell.
        leak = found["candidate", "privleak", "muse_news_privleak", precision]
        assert abs(leak["value"]) < 30, precision
        low, high = next((each["low"], each["high"]) for each in leak["intervals"] if each["confidence"] == 0.99)
        assert low < 0 < high, precision
        assert found["candidate", "forget_drop", "muse_news_verbmem", precision]["value"] > 0.5
    assert found["candidate", "cad", "muse_news_knowmem_forget", "nf4"]["value"] > 0
    assert ("retrained", "min_k", "muse_news_privleak", "full") in found
    content = read_json(run / "run.json")
    assert content["retrained"]["path"].endswith("retrained")
    prompts = {each["task"]: each for each in content["prompts"]}
    assert prompts["muse_news_knowmem_forget"]["few_shot"] == 10
    assert all(each["tokens"][0] == 0 for each in prompts.values()), "BOS, once"
    kept = "".join(path.read_text() for path in (run / "samples").glob("*privleak*"))
    assert "In forget" not in kept
    assert (run / "samples" / "muse_news_privleak.full.retrained.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["muse-books", "tofu", "tofu-forget01", "tofu-forget05", "wmdp-chem"])
def test_every_suite_runs_end_to_end_at_every_precision(check, planted: Path, suite: str) -> None:
    done, run = check(suite, "", "--retrained", str(planted / "retrained"))
    assert done.status in (0, 1, 5), done.text  # a verdict, whatever it is: the same book stands in for all
    found = numbers(run)
    assert {key[3] for key in found} == ALL
    asked = [task for task in read_json(run / "run.json")["tasks"] if task["role"] == "forget"]
    assert asked
    for task in asked:
        metric = task["measure"] or task["metric"]
        assert {key[3] for key in found if key[:3] == ("candidate", metric, task["name"])} == ALL, task["name"]
    if suite.startswith("tofu"):
        assert ("candidate", "model_utility", "suite", "awq") in found
        assert 0 <= next(each["value"] for key, each in found.items() if key[1] == "forget_quality") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["wmdp-bio", "wmdp-cyber"])
def test_the_long_suites_run_at_every_precision_on_part_of_their_items(check, suite: str) -> None:
    """As many as the calibration takes: chem, above, runs whole, and these differ from it in their items only."""
    done, run = check(suite, "", "--limit", "130")
    assert done.status in (1, 5), done.text
    assert {key[3] for key in numbers(run)} == ALL
    assert not read_json(run / "run.json")["complete"]


@pytest.mark.slow
def test_wmdp_runs_through_a_chat_template(check, planted: Path, tmp_path: Path) -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}\\n{% endfor %}"
    for name in ("base", "candidate"):
        path = shutil.copytree(planted / name, tmp_path / name) / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    done, run = check("wmdp-chem", "", "--limit", "8", "--apply-chat-template", "--precisions", "full", models=tmp_path)
    assert done.status in (1, 5), done.text
    content = read_json(run / "run.json")
    assert all(each["chat_template"] for each in content["prompts"])
    assert not content["complete"]
