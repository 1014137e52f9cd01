"""A suite is rendered once, always the same, and a broken or missing piece of it is named."""

import json
import random

import pytest

from unlearn_guard.errors import SuiteError
from unlearn_guard.scoring.catalogue import locate
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.suites import load_suite


def digests(world, **options):
    return {task.name: task.digest for task in render(load_suite(world), defaults=False, **options).records}


def change(world, name, old, new):
    path = world.parent.parent / "invented" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refusal(world, **options):
    with pytest.raises(SuiteError) as caught:
        render(load_suite(world), **{"defaults": False, **options})
    return str(caught.value)


def test_items_keep_the_datasets_order_and_their_ids(rendered):
    lettered = rendered.tasks[0]
    assert [item.id for item in lettered.items] == [f"invented_lettered-{index}" for index in range(23)]
    assert lettered.items[0].requests[0].args[0].startswith("The following are multiple choice questions")
    assert [request.args[1] for request in lettered.items[0].requests] == [" A", " B", " C", " D"]


def test_rendering_twice_gives_the_same(world):
    first, second = (render(load_suite(world), defaults=False) for _ in range(2))
    assert first.records == second.records
    assert [each.items for each in first.tasks] == [each.items for each in second.tasks]


def test_rendering_leaves_the_generators_of_others_alone(world):
    random.seed(7)
    expected = random.Random(7).random()
    render(load_suite(world), defaults=False)
    assert random.random() == expected


def test_the_digest_tells_a_field_by_which_answers_are_counted(world):
    """As in IFEval: neither asked nor the target, and stored answers were counted by what it said then."""
    path = world.parent.parent / "invented" / "lettered.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**item, "rule": "short"}) + "\n" for item in items))
    before = digests(world)
    assert digests(world) == before
    items[3]["rule"] = "long"
    path.write_text("".join(json.dumps({"rule": "short", **item}) + "\n" for item in items))
    after = digests(world)
    assert after["invented_lettered"] != before["invented_lettered"]
    assert after["invented_worded"] == before["invented_worded"]


def test_the_digest_tells_a_changed_item(world):
    before = digests(world)
    path = world.parent.parent / "invented" / "lettered.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    items[3]["answer"] = (items[3]["answer"] + 1) % 4
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    after = digests(world)
    assert after["invented_lettered"] != before["invented_lettered"]
    assert after["invented_worded"] == before["invented_worded"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("lettered.yaml", "Answer:", "Reply:"),
        ("lettered.yaml", "about islands", "about ships"),
        ("written.yaml", 'until: ["e"]', 'until: ["a"]'),
        ("written.yaml", "max_gen_toks: 12", "max_gen_toks: 13"),
        ("written.yaml", "metric: exact_match,", "metric: exact_match, ignore_case: true,"),
    ],
)
def test_the_digest_tells_a_changed_template_or_count(world, file, old, new):
    before = digests(world)
    change(world, file, old, new)
    after = digests(world)
    assert [name for name in before if before[name] != after[name]] == [f"invented_{file.removesuffix('.yaml')}"]


def test_a_limit_takes_the_first_items(world):
    limited = render(load_suite(world), defaults=False, limit=2)
    assert [task.items for task in limited.records] == [2, 2, 2]
    assert limited.limit == 2
    assert limited.tasks[0].items[1].prompt == render(load_suite(world), defaults=False).tasks[0].items[1].prompt
    assert "limit of 0" in refusal(world, limit=0)


def test_a_broken_definition_is_named(world):
    change(world, "worded.yaml", "metric_list:", "metric_list: [")
    assert "worded.yaml" in refusal(world)


def test_every_broken_definition_is_named(world):
    change(world, "worded.yaml", "doc_to_choice:", "doc_to_choise:")
    change(world, "written.yaml", "task: invented_written", "tusk: invented_written")
    message = refusal(world)
    assert "worded.yaml:8" in message
    assert "Did you mean doc_to_choice" in message
    assert "written.yaml: found neither `task` nor `group`" in message


def test_a_missing_include_is_named(world):
    change(world, "worded.yaml", "task: invented_worded", "task: invented_worded\ninclude: _nowhere_yaml")
    assert "_nowhere_yaml" in refusal(world)


def test_a_task_defined_twice_is_refused(world):
    folder = world.parent.parent / "invented"
    (folder / "again.yaml").write_text((folder / "worded.yaml").read_text())
    assert "task 'invented_worded' again" in refusal(world)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("worded.yaml", "worded.jsonl", "nowhere.jsonl", "nowhere.jsonl"),
        ("worded.yaml", "doc_to_text: question", 'doc_to_text: "{{question|nofilter}}"', "nofilter"),
        ("worded.yaml", "test_split: test", "test_split: dev", "dev"),
        ("worded.yaml", "metric: acc_norm", "metric: f1", "no metric 'acc_norm'"),
        ("written.yaml", "do_sample: false", "temperature: 0.7", "only greedy answers"),
        ("written.yaml", "do_sample: false", "num_beams: 4", "num_beams"),
        ("written.yaml", "do_sample: false", "do_sample: true", "only greedy answers"),
    ],
)
def test_a_task_that_cannot_be_rendered_is_named(world, file, old, new, expected):
    change(world, file, old, new)
    message = refusal(world)
    assert expected in message
    assert file in message


def test_a_metric_that_is_no_mean_over_items_is_refused(world):
    change(world, "worded.yaml", "metric: acc_norm, aggregation: mean", "metric: f1, aggregation: f1")
    world.write_text(world.read_text().replace("metric: acc_norm", "metric: f1"))
    assert "not a mean over items" in refusal(world)


def test_a_chance_that_the_choices_contradict_is_refused(world):
    world.write_text(world.read_text().replace("chance: 0.25", "chance: 0.5", 1))
    message = refusal(world)
    assert "chance 0.5" in message
    assert "0.25" in message


def test_a_filter_is_named_where_there_are_several(world):
    filters = """
filter_list:
  - {name: whole, filter: [{function: take_first}]}
  - {name: first, filter: [{function: regex, regex_pattern: "([a-z]+)"}, {function: take_first}]}
"""
    change(world, "written.yaml", "test_split: test\n", f"test_split: test{filters}")
    assert "`exact_match,whole` or `exact_match,first`" in refusal(world)
    world.write_text(world.read_text().replace("metric: exact_match", 'metric: "exact_match,first"'))
    written = render(load_suite(world), defaults=False).tasks[2]
    assert (written.task.metric, written.leaves[0].metric, written.leaves[0].filter) == (
        "exact_match,first",
        "exact_match",
        "first",
    )


def test_a_group_is_asked_as_one_task(world):
    folder = world.parent.parent / "invented"
    for half in ("one", "two"):
        text = (folder / "lettered.yaml").read_text().replace("invented_lettered", f"invented_half_{half}")
        (folder / f"half_{half}.yaml").write_text(text)
    group = "group: invented_halves\ntask: [invented_half_one, invented_half_two]\n"
    (folder / "halves.yaml").write_text(group + "aggregate_metric_list: [{metric: acc, weight_by_size: true}]\n")
    world.write_text(world.read_text().replace("task: invented_lettered", "task: invented_halves"))
    halves = render(load_suite(world), defaults=False).tasks[0]
    assert halves.task.items == 10
    assert [item.id for item in halves.items][4:6] == ["invented_half_one-4", "invented_half_two-0"]
    (folder / "halves.yaml").write_text(group + "aggregate_metric_list: [{metric: acc, weight_by_size: false}]\n")
    assert "averages over tasks" in refusal(world)


def test_lm_evals_own_tasks_are_found_without_scanning_them_all():
    located = locate(["wmdp_bio", "ifeval", "mmlu"], [], defaults=True, keys=())
    assert [path.name for path in located.files.values()] == ["wmdp_bio.yaml", "ifeval.yaml", "_mmlu.yaml"]
    assert [folder.name for folder in located.folders] == ["wmdp", "ifeval", "mmlu"]


def test_an_unknown_task_gets_the_nearest_names():
    with pytest.raises(SuiteError, match="Did you mean wmdp_bio"):
        locate(["wmdp_boi"], [], defaults=True, keys=())
    with pytest.raises(SuiteError, match="no folder of the suite's own"):
        locate(["wmdp_bio"], [], defaults=False, keys=())


@pytest.fixture
def offline(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


PINNED = """
task: invented_hub
include: lettered.yaml
dataset_path: nobody/nothing
dataset_kwargs: {revision: 0123456789abcdef0123456789abcdef01234567}
"""


def ask_the_hub(world, definition=PINNED):
    (world.parent.parent / "invented" / "hub.yaml").write_text(definition)
    world.write_text(world.read_text().replace("task: invented_lettered", "task: invented_hub"))


def test_a_missing_dataset_is_named_with_the_way_to_vendor_it(world, offline):
    ask_the_hub(world)
    message = refusal(world)
    assert "nobody/nothing" in message
    assert "unlearn-guard data pull SUITE --data-dir DIR" in message


def test_a_dataset_that_is_not_pinned_is_refused(world, offline):
    ask_the_hub(world, PINNED.replace("dataset_kwargs: {revision: 0123456789abcdef0123456789abcdef01234567}", ""))
    assert "not pinned to a revision" in refusal(world)
    ask_the_hub(world, PINNED.replace("0123456789abcdef0123456789abcdef01234567", "main"))
    assert "not pinned to a revision" in refusal(world)


def test_a_metric_of_which_less_is_better_is_refused(world):
    """Its drop would read as forgetting where a model has come to know more; a probe may have one."""
    better = "metric: acc_norm, aggregation: mean, higher_is_better: "
    change(world, "worded.yaml", f"{better}true", f"{better}false")
    assert "of metric 'acc_norm' less is better" in refusal(world)


def test_where_the_likeliest_choice_is_the_answer_the_task_says_so(world):
    """Lettered questions by accuracy; not by a length-normed one, nor written answers."""
    found = {task.name: task.likeliest for task in render(load_suite(world), defaults=False).records}
    assert found == {"invented_lettered": True, "invented_worded": False, "invented_written": False}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[" * 1000 + "]" * 1000, "more than 32 levels"),
        ("1" * 5000, "Exceeds the limit (4300 digits)"),
        ("2026-99-99", "month must be in 1..12"),
    ],
)
def test_a_task_definition_that_no_reader_survives_is_refused_at_once(world, value, said):
    path = world.parent.parent / "invented" / "worded.yaml"
    path.write_text(f"{path.read_text()}metadata: {value}\n")
    assert said in refusal(world)
