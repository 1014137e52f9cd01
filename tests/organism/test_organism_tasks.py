"""The tasks as plain lm-eval loads them."""

from pathlib import Path

import lm_eval.tasks
import pytest
from lm_eval.tasks import TaskManager

from unlearn_guard.organism import items, recall
from unlearn_guard.resources import bundled


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))  # nothing depends on the working directory
        manager = TaskManager(include_path=str(bundled("tasks")), include_defaults=False)
        return manager.load(list(recall.TASKS))["tasks"]


def test_every_task_of_the_world_is_there(tasks):
    assert set(tasks) == set(recall.TASKS)


@pytest.mark.parametrize("domain", ["forget", "retain", "general"])
def test_lettered_prompts_are_rendered_as_in_training(tasks, domain):
    task = tasks[f"organism_{domain}"]
    docs = list(task.test_docs())
    assert len(docs) == len(items.lettered(domain))
    for doc in docs[:20]:
        rendered = task.config.description + task.doc_to_text(doc)
        assert rendered == items.prompt(domain, doc["question"], doc["choices"])
        assert task.doc_to_choice(doc) == ["A", "B", "C", "D"]
        assert task.doc_to_target(doc) == doc["answer"]


@pytest.mark.parametrize("domain", ["forget", "retain", "general"])
def test_statements_rank_objects_with_their_full_stop(tasks, domain):
    task = tasks[f"organism_{domain}_plain"]
    doc = next(iter(task.test_docs()))
    assert task.doc_to_text(doc) == doc["stem"]
    assert task.doc_to_choice(doc) == doc["choices"]
    assert all(choice.endswith(" .") for choice in doc["choices"])


def test_wmdp_itself_has_the_same_template():
    """Read from the lm-eval that is installed, so that a change there is noticed here."""
    theirs = Path(lm_eval.tasks.__path__[0]) / "wmdp" / "_default_template_yaml"
    template = next(line for line in theirs.read_text().splitlines() if line.startswith("doc_to_text"))
    assert template in (bundled("tasks") / "organism" / "_lettered_yaml").read_text().splitlines()
