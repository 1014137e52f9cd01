"""A suite is written whole or not at all, and what is written is what `check` and `unlearn` read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from organism_questions import questions, write

from unlearn_guard.authoring import publishing
from unlearn_guard.authoring.publishing import SuiteRequest, init_suite
from unlearn_guard.errors import StorageError, SuiteError, UsageError
from unlearn_guard.scoring.rendering import render
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.unlearning.rows import rows_of


@pytest.fixture
def request_of(files, tmp_path):
    """A request for the suite `ours`."""

    def make(**more):
        return SuiteRequest(name="ours", forget=files[0], retain=files[1], out=tmp_path / "suites", **more)

    return make


def prompts(suite):
    return {each.task.name: [item.requests[0].args[0] for item in each.items] for each in render(suite).tasks}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lettered_questions_are_asked_as_the_organism_s_and_wmdp_s_are(request_of):
    """Byte for byte the prompts of a task that was written by hand, in WMDP's form."""
    suite = init_suite(request_of(about="islanders")).suite
    by_hand = prompts(load_suite("organism"))
    assert prompts(suite)["ours_forget"] == by_hand["organism_forget"][:12]
    assert prompts(suite)["ours_retain"] == by_hand["organism_retain"][:12]
    asked = render(suite).tasks[0].items[0]
    assert [request.args[1] for request in asked.requests] == [" A", " B", " C", " D"]
    assert asked.target == str(questions("forget", 1)[0]["answer"])


def test_texts_are_ranked_where_letters_are_not_wanted(request_of):
    suite = init_suite(request_of(ask="texts")).suite
    item = render(suite).tasks[0].items[0]
    first = questions("forget", 1)[0]
    assert item.requests[0].args[0] == f"Question: {first['question']}\nAnswer:"
    assert [request.args[1] for request in item.requests] == [f" {each}" for each in first["choices"]]


def test_questions_of_different_length_have_their_own_chance(request_of, files):
    two = {"question": "Is it so?", "choices": ["yes", "no"], "answer": "no"}
    write(files[0], [*questions("forget", 3), two])
    suite = init_suite(request_of()).suite
    assert suite.forget[0].chance == pytest.approx((3 / 4 + 1 / 2) / 4, abs=1e-4)
    items = render(suite).tasks[0].items
    assert [len(item.requests) for item in items] == [4, 4, 4, 2]
    assert items[3].requests[0].args[0] == "Is it so?\nA. yes\nB. no\nAnswer:"


def test_answers_to_be_written_are_scored_as_tofu_s(request_of, files):
    write(files[0], [{"question": f"Who made {n}?", "answer": f"Ada {n}"} for n in range(6)])
    suite = init_suite(request_of()).suite
    assert [(spec.name, spec.metric, spec.chance, spec.pairs) for spec in suite.forget] == [
        ("ours_forget_rouge", "rougeL_recall", 0.0, "swapped"),
        ("ours_forget_prob", "prob", 0.0, None),
    ]
    rouge, prob, _ = render(suite).tasks
    assert rouge.leaves[0].task.process_results({"answer": "Ada 1"}, ["Ada 2"]) == {"rougeL_recall": 0.5}
    assert prob.items[0].requests[0].args == ("Question: Who made 0?\nAnswer:", " Ada 0")


@pytest.mark.parametrize(
    ("ask", "first"),
    [
        ("letters", {"prompt": "What is the emblem of Ala Glenton?", "answer": " gate"}),
        ("texts", {"prompt": "Question: What is the emblem of Ala Glenton?\nAnswer:", "answer": " gate"}),
    ],
)
def test_unlearn_trains_on_the_questions_where_nothing_else_is_given(request_of, ask, first):
    suite = init_suite(request_of(ask=ask, about="islanders" if ask == "letters" else None)).suite
    rows = [row for _, row in rows_of(suite.unlearn.forget[0])]
    assert {key: rows[0][key] for key in first} == first
    assert sorted(rows[0]["wrong"]) == [" anchor", " fountain", " harp"]
    if ask == "letters":
        assert rows[1] == questions("forget", 1)[0]
        assert suite.unlearn.forget[0].description.endswith("about islanders.\n\n")


def test_texts_of_a_folder_are_trained_on_instead(request_of, tmp_path):
    folder = tmp_path / "texts"
    (folder / "retain").mkdir(parents=True)
    (folder / "forget.txt").write_text("One.\n\nTwo.\u2028Three.\n")
    (folder / "retain" / "a.txt").write_text("Stays.")
    write(folder / "retain" / "b.jsonl", [{"prompt": "So", "answer": " be it"}])
    suite = init_suite(request_of(corpora=folder)).suite
    assert [row for _, row in rows_of(suite.unlearn.forget[0])] == [{"text": "One.\n\nTwo.\u2028Three.\n"}]
    assert [row for _, row in rows_of(suite.unlearn.retain[0])] == [
        {"text": "Stays."},
        {"prompt": "So", "answer": " be it"},
    ]
    assert suite.unlearn.forget[0].description == ""


@pytest.mark.parametrize(
    ("files_there", "told"),
    [
        ({"forget.txt": "x"}, "no retain corpus"),
        ({"forget.txt": "x", "forget.jsonl": '{"text": "y"}\n', "retain.txt": "z"}, "forget.txt and forget.jsonl"),
        ({"forget.txt": " \n", "retain.txt": "z"}, "holds no text"),
        ({"forget.jsonl": '{"txt": "y"}\n', "retain.txt": "z"}, "forget.jsonl:1"),
        ({"forget.jsonl": '{"text": 3}\n', "retain.txt": "z"}, "forget.jsonl:1"),
        ({"forget.jsonl": '{"text": "\\ud800"}\n', "retain.txt": "z"}, "half of a character"),
        ({"forget/a.pdf": "x", "retain.txt": "z"}, "'a.pdf'"),
    ],
)
def test_texts_that_cannot_be_trained_on_are_refused(request_of, tmp_path, files_there, told):
    for name, text in files_there.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(SuiteError, match=told.replace(".", r"\.")):
        init_suite(request_of(corpora=tmp_path / "texts"))
    assert not (tmp_path / "suites").exists()


def test_a_file_of_pairs_is_taken_along_and_a_broken_one_refused(request_of, tmp_path):
    pairs = tmp_path / "p.jsonl"
    write(pairs, [{"clean": "a b", "corrupted": "a c", "target": " d", "wrong": [" e"]}])
    suite = init_suite(request_of(pairs=str(pairs))).suite
    assert suite.forget[0].pairs.read_bytes() == pairs.read_bytes()
    assert suite.forget[0].pairs.parent == (tmp_path / "suites" / "ours").resolve()
    write(pairs, [{"clean": "a b", "corrupted": "a c", "target": " d", "wrong": []}])
    with pytest.raises(SuiteError, match=r"p\.jsonl:1"):
        init_suite(request_of(pairs=str(pairs), replace=True))
    with pytest.raises(UsageError, match="neutral, swapped"):
        init_suite(request_of(pairs="nowhere", replace=True))


def test_nothing_is_overwritten_unless_asked_for(request_of, tmp_path):
    init_suite(request_of())
    before = tree(tmp_path / "suites")
    with pytest.raises(UsageError, match="--replace"):
        init_suite(request_of(ask="texts"))
    assert tree(tmp_path / "suites") == before
    init_suite(request_of(ask="texts", replace=True))
    assert "Question:" in (tmp_path / "suites" / "ours" / "ours_forget.yaml").read_text()
    assert [path.name for path in (tmp_path / "suites").iterdir() if path.name.startswith(".")] == []


def test_replacing_takes_nothing_away_that_was_not_written_here(request_of, tmp_path):
    init_suite(request_of())
    (tmp_path / "suites" / "ours" / "notes.md").write_text("mine")
    before = tree(tmp_path / "suites")
    with pytest.raises(UsageError, match=r"notes\.md"):
        init_suite(request_of(replace=True))
    assert tree(tmp_path / "suites") == before


def test_a_suite_that_cannot_be_finished_is_not_there(request_of, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "load_suite", lambda path: (_ for _ in ()).throw(SuiteError("broken")))
    with pytest.raises(SuiteError, match="broken"):
        init_suite(request_of())
    assert tree(tmp_path / "suites") == {}


def test_a_disk_that_refuses_leaves_no_suite_without_its_folder(request_of, tmp_path, monkeypatch):
    real = Path.replace

    def refuse(self, target):
        if Path(target) == tmp_path / "suites" / "ours.yaml":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="No space left"):
        init_suite(request_of())
    assert not (tmp_path / "suites" / "ours.yaml").exists()


@pytest.mark.parametrize("name", ["organism", "a/b", "", "..", "x" * 61, "a.b", "ö"])
def test_a_name_that_is_taken_or_no_name_is_refused(request_of, tmp_path, name):
    with pytest.raises(UsageError):
        init_suite(replace(request_of(), name=name))
    assert not (tmp_path / "suites").exists()


@pytest.mark.parametrize("name", ["12", "null", "1e3", "yes", "-x"[1:], "a-b_C"])
def test_a_name_that_yaml_would_take_for_something_else_is_a_name(request_of, tmp_path, name):
    assert init_suite(replace(request_of(), name=name)).suite.name == name
    assert len(render(load_suite(name, [tmp_path / "suites"])).tasks) == 2


@pytest.mark.parametrize("about", ["{{x}}", "a\nb", "", "{% raw %}"])
def test_a_topic_that_would_be_a_template_is_refused(request_of, about):
    with pytest.raises(UsageError, match="--about"):
        init_suite(request_of(about=about))


def test_questions_may_hold_what_templates_and_lines_are_made_of(request_of, files):
    odd = ["{{question}} {% x %}", 'quote " and \\ and \u2028 and \x85.', "two\nlines: yes", "a: b # c"]
    write(files[0], [{"question": text, "choices": ["{{a}}", "[1]", "7"], "answer": "7"} for text in odd])
    found = prompts(init_suite(request_of()).suite)["ours_forget"]
    assert found == [f"{text}\nA. {{{{a}}}}\nB. [1]\nC. 7\nAnswer:" for text in odd]


def test_answers_that_all_have_one_letter_are_refused_and_can_be_shuffled(request_of, files):
    rows = [
        row | {"choices": [row["choices"][row["answer"]], "x", "y", "z"], "answer": 0}
        for row in questions("forget", 12)
    ]
    write(files[0], rows)
    with pytest.raises(SuiteError, match="every forget question is A"):
        init_suite(request_of())
    suite = init_suite(request_of(shuffle=True)).suite
    items = render(suite).tasks[0].items
    assert len({item.target for item in items}) > 1
    shown = [json.loads(line) for line in (suite.include[0] / "forget.jsonl").read_text().splitlines()]
    assert [each["choices"][each["answer"]] for each in shown] == [row["choices"][0] for row in rows]
    assert init_suite(request_of(ask="texts", replace=True)).suite.forget


def test_neutral_pairs_are_of_lettered_questions(request_of):
    with pytest.raises(UsageError, match="neutral"):
        init_suite(request_of(ask="texts", pairs="neutral"))
    assert init_suite(request_of(pairs="neutral")).suite.forget[0].pairs == "neutral"


@pytest.mark.parametrize(
    ("more", "told"), [({"ask": "texts", "about": "x"}, "--about"), ({"shuffle": True}, "--shuffle")]
)
def test_an_option_that_would_do_nothing_is_refused(request_of, files, more, told):
    if "shuffle" in more:
        for file in files:
            write(file, [{"question": f"Who made {file.name} {n}?", "answer": f"Ada {n}"} for n in range(6)])
    with pytest.raises(UsageError, match=told):
        init_suite(request_of(**more))
