"""Data that a hub serves is named by a commit, and that commit is what is asked for."""

import re

import datasets
import pytest
from datasets.exceptions import DatasetNotFoundError

from unlearn_guard.errors import SuiteError
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.loading import leaf_configs
from unlearn_guard.scoring.suites import list_suites, load_suite
from unlearn_guard.unlearning.rows import rows_of

COMMIT = re.compile(r"[0-9a-f]{40}")
GATED = "cais/wmdp-bio-forget-corpus"
"""Its commits are shown to those alone who have accepted its terms, so that none could be named here."""

FOLDERS = ("wmdp", "mmlu", "ifeval", "muse", "tofu")


def corpora():
    """Every corpus on a hub of every shipped suite, its folds too."""
    for held in list_suites():
        unlearn = load_suite(held.name).unlearn
        if unlearn is not None:
            folds = [source for sources in unlearn.folds.values() for source in sources]
            yield from (each for each in (*unlearn.forget, *unlearn.retain, *unlearn.refused, *folds) if each.dataset)


def test_every_task_s_data_is_at_a_commit():
    for folder in FOLDERS:
        tasks = bundled("tasks") / folder
        for config in leaf_configs([path.stem for path in tasks.glob("*.yaml")], [tasks], defaults=False):
            assert COMMIT.fullmatch(config["dataset_kwargs"]["revision"]), config["task"]


def test_every_corpus_but_the_gated_one_is_at_a_commit():
    assert {each.dataset for each in corpora() if each.revision is None} == {GATED}
    assert all(COMMIT.fullmatch(each.revision) for each in corpora() if each.revision is not None)


def test_one_dataset_is_at_one_commit_everywhere():
    seen = {}
    for each in corpora():
        assert seen.setdefault(each.dataset, each.revision) == each.revision, each.dataset


def test_the_commit_is_what_the_hub_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *where, **how: asked.append((*where, how)) or [])
    wanted = list(corpora())
    for each in wanted:
        assert list(rows_of(each)) == []
    assert asked == [(each.dataset, each.config, {"split": each.split, "revision": each.revision}) for each in wanted]


def test_a_gated_corpus_says_what_to_do(monkeypatch):
    def gated(*_, **__):
        raise DatasetNotFoundError(f"Dataset '{GATED}' is a gated dataset on the Hub. You must be authenticated.")

    monkeypatch.setattr(datasets, "load_dataset", gated)
    (source,) = {each for each in corpora() if each.dataset == GATED}
    with pytest.raises(SuiteError) as caught:
        list(rows_of(source))
    said = str(caught.value)
    assert "gated" in said
    assert "hf auth login" in said
    assert "--corpora DIR" in said
