"""A suite file is read strictly: every defect at once, with its line, and nothing guessed."""

import shutil
import subprocess
import sys

import pytest

from unlearn_guard.errors import ExitStatus, SuiteError
from unlearn_guard.records import Role
from unlearn_guard.scoring.suites import list_suites, load_suite

SHIPPED = ["atlas", "atlas-150", "muse-books", "muse-news", "organism", "tofu", "tofu-forget01", "tofu-forget05"]
SHIPPED += [
    "tofu-chat",
    "tofu-open-unlearning",
    "tofu-llama2",
    "tofu-llama2-all",
    "wmdp-bio",
    "wmdp-chem",
    "wmdp-cyber",
]


def broken(world, old, new):
    text = world.read_text()
    assert old in text
    world.write_text(text.replace(old, new, 1))
    with pytest.raises(SuiteError) as caught:
        load_suite(world)
    assert caught.value.exit_status is ExitStatus.USAGE
    return str(caught.value)


def test_a_suite_is_its_tasks_with_their_roles(world):
    suite = load_suite(world)
    assert [(task.name, task.role, task.metric, task.chance) for task in suite.tasks] == [
        ("invented_lettered", Role.FORGET, "acc", 0.25),
        ("invented_worded", Role.RETAIN, "acc_norm", 0.25),
        ("invented_written", Role.RETAIN, "exact_match", 0.0),
    ]
    assert suite.include == ((world.parent.parent / "invented").resolve(),)
    assert suite.calibration == "retain"


def test_the_shipped_suite_is_found_by_name():
    suite = load_suite("organism")
    assert suite.forget
    assert suite.retain
    assert suite.calibration.is_file()
    assert suite in list_suites()


def test_a_users_folder_is_searched_too(world):
    assert load_suite("invented", [world.parent]).path == world
    assert load_suite("invented", [world.parent.parent]).path == world
    assert {suite.name for suite in list_suites([world.parent.parent])} - set(SHIPPED) == {"invented"}


def test_a_suite_may_include_a_shipped_folder_and_its_own_comes_first(world):
    world.write_text(world.read_text().replace("include: [invented]", "include: [invented, wmdp]"))
    assert [folder.name for folder in load_suite(world).include] == ["invented", "wmdp"]
    assert (load_suite(world).include[1] / "wmdp_bio.yaml").is_file()
    (world.parent.parent / "wmdp").mkdir()
    assert load_suite(world).include[1] == (world.parent.parent / "wmdp").resolve()


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ("{task: p, metric: m, measure: privleak, retrained: 47.72}", "less than 1"),
        ("{task: p, metric: m, measure: privlek}", "privleak"),
        ("{task: p, metric: m, measure: privleak, chance: 0.5}", "an unknown key"),
        ("{task: suite, metric: m, measure: privleak}", "reserved"),
        ("{task: invented_worded, metric: m, measure: privleak}", "a second time"),
    ],
)
def test_a_probe_that_cannot_be_meant_is_refused(world, probe, expected):
    assert expected in broken(world, "include: [invented]", f"probe: [{probe}]\ninclude: [invented]")


def test_a_name_found_twice_is_not_guessed(world, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "invented.yaml").write_text(world.read_text())
    with pytest.raises(SuiteError, match="more than once"):
        load_suite("invented", [world.parent, other])


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(SuiteError, match="Did you mean organism"):
        load_suite("organsim")


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SuiteError, match=r"no suite file .*nowhere\.yaml"):
        load_suite(tmp_path / "nowhere.yaml")


def test_a_duplicate_key_is_refused_with_its_line(world):
    assert "invented.yaml:4" in broken(world, "title: Invented", "name: again")


def test_an_unknown_key_gets_its_line_and_the_nearest_name(world):
    message = broken(world, "metric: acc_norm, chance", "metrik: acc, metric: acc_norm, chance")
    assert "invented.yaml:8" in message
    assert "Did you mean metric" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("chance: 0.25}]", "chance: 25}]", "write 0.25, not 25"),
        ("chance: 0.25}]", "chance: .nan}]", "invented.yaml:6"),
        ("chance: 0.25}]", "chance: -0.1}]", "greater than or equal to 0"),
        ("chance: 0.25}]", "chance: '0.25'}]", "valid number"),
        ("chance: 0.25}]", "}]", "this key is required"),
        ("version: 1", "version: 2", "expected input should be 1"),
        ("name: invented", "name: other", "'invented', the file's own"),
        ("chance: 0.25}]", "chance: 0.25, phrasing: heldout}]", "'trained' or 'held_out'"),
        ("task: invented_worded", "task: invented_lettered", "a second time"),
        ("task: invented_worded", "task: weights", "reserved"),
        ("include: [invented]", "include: [nowhere]", "'nowhere'"),
        ("{tasks: retain}", "{tasks: forget}", "expected input should be 'retain'"),
        ("{tasks: retain}", "{}", "one of them"),
        ("{tasks: retain}", "{file: no.jsonl}", "'no.jsonl'"),
        ("forget: [{task: invented_lettered, metric: acc, chance: 0.25}]", "forget: []", "at least 1 item"),
        ("title: Invented", "title: *alias", "an alias (*alias)"),
        ("title: Invented", "title: [", "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused(world, old, new, expected):
    assert expected in broken(world, old, new)


def test_a_held_out_phrasing_is_of_forget_tasks_and_never_all_of_them(world):
    asked = "metric: acc, chance: 0.25"
    assert "held-out phrasings alone" in broken(world, asked, f"{asked}, phrasing: held_out")
    kept = "metric: acc_norm, chance"
    assert "phrasing of a retain task" in broken(world, kept, "metric: acc_norm, phrasing: held_out, chance")


def test_all_defects_are_told_at_once(world):
    world.write_text(world.read_text().replace("chance: 0.25", "chance: 25").replace("version: 1", "version: one"))
    with pytest.raises(SuiteError) as caught:
        load_suite(world)
    assert len(caught.value.defects) == 3


@pytest.mark.parametrize("content", ["", "- a list", "just words"])
def test_a_file_that_is_no_mapping_is_refused(world, content):
    world.write_text(content)
    with pytest.raises(SuiteError, match="mapping"):
        load_suite(world)


def test_a_file_that_is_not_text_is_refused(world):
    world.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuiteError, match="UTF-8"):
        load_suite(world)


def test_reading_suites_imports_neither_torch_nor_lm_eval():
    code = (
        "import sys; from unlearn_guard.scoring import suites; suites.list_suites(); "
        "print([name for name in ('torch', 'lm_eval', 'transformers', 'datasets') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[" * 1000 + "]" * 1000, "nested more than 8 deep"),
        ("1" * 5000, "unknown key"),
        ("2026-99-99", "unknown key"),
        ('"\\ud834"', "half of a char"),
    ],
)
def test_a_value_that_no_reader_survives_is_refused_at_once(world, value, said):
    world.write_text(f"{world.read_text()}floor: {value}\n")
    with pytest.raises(SuiteError, match=said):
        load_suite(world)


def moved_beside(world):
    """The same suite in the same folder `suites`, its tasks beside it and no longer beside that folder."""
    (world.parent.parent / "invented").rename(world.parent / "invented")
    return world


def test_beside_this_file_holds_in_a_folder_called_suites_too(world):
    path = moved_beside(world)
    assert load_suite(path).include == ((path.parent / "invented").resolve(),)
    assert load_suite("invented", [path.parent]).include == ((path.parent / "invented").resolve(),)


def test_every_kind_of_file_is_found_beside_a_suite(world):
    for name in ("texts.jsonl", "pairs.jsonl", "corpus.jsonl"):
        (world.parent / name).write_text("{}\n")
    text = world.read_text().replace("{tasks: retain}", "{file: texts.jsonl}", 1)
    text = text.replace("chance: 0.25}]", "chance: 0.25, pairs: pairs.jsonl}]", 1)
    world.write_text(text + "unlearn: {forget: [{file: corpus.jsonl}], retain: [{file: corpus.jsonl}]}\n")
    suite = load_suite(world)
    found = (suite.calibration, suite.forget[0].pairs, suite.unlearn.forget[0].path)
    assert found == tuple((world.parent / name).resolve() for name in ("texts.jsonl", "pairs.jsonl", "corpus.jsonl"))


def test_a_model_s_folder_of_the_same_name_is_not_taken_for_tasks(world):
    path = moved_beside(world)
    (world.parent.parent / "invented").mkdir()
    (world.parent.parent / "invented" / "config.json").write_text("{}")
    assert load_suite(path).include == ((path.parent / "invented").resolve(),)


def test_two_folders_of_tasks_of_one_name_are_not_guessed(world):
    shutil.copytree(world.parent.parent / "invented", world.parent / "invented")
    with pytest.raises(SuiteError, match="expected one of them"):
        load_suite(world)


def test_a_folder_that_holds_suites_and_a_folder_suites_is_searched_in_both(world):
    folder = world.parent.parent
    (folder / "other.yaml").write_text(world.read_text().replace("name: invented", "name: other"))
    (folder / "thresholds.yaml").write_text("version: 1\nlimits: []\n")
    assert {suite.name for suite in list_suites([folder])} - set(SHIPPED) == {"invented", "other"}
    assert load_suite("other", [folder]).path == folder / "other.yaml"
    assert load_suite("invented", [folder]).path == world


def test_a_suite_of_the_working_directory_is_pointed_at(world, monkeypatch):
    monkeypatch.chdir(world.parent.parent)
    with pytest.raises(SuiteError, match=r"There is suites/invented\.yaml: add --tasks-dir suites\."):
        load_suite("invented")
