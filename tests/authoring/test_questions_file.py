"""A file of questions is read strictly: every defect at once, with file and line, and no answer guessed."""

import json

import pytest

from unlearn_guard.authoring.questions_file import read_questions
from unlearn_guard.errors import SuiteError
from unlearn_guard.records import Role

KEEP = {"question": "What stays?", "choices": ["this", "that"], "answer": "this"}
ASK = {"question": "Which gem?", "choices": ["agate", "pearl", "coral"], "answer": 1}


@pytest.fixture
def read(tmp_path):
    """The questions of two files, JSON Lines made of these rows or the text as it is."""

    def of(forget, retain=(KEEP,), *, name="forget.jsonl"):
        def write(file, rows):
            text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
            file.write_text(text, encoding="utf-8")
            return file

        return read_questions(write(tmp_path / name, forget), write(tmp_path / "retain.jsonl", retain))

    return of


def refused(read, *arguments, **options):
    with pytest.raises(SuiteError) as caught:
        read(*arguments, **options)
    return str(caught.value)


def answer_of(read, **values):
    return read([ASK | values]).of(Role.FORGET)[0].answer


@pytest.mark.parametrize(
    ("answer", "choices", "right"),
    [
        (1, ["agate", "pearl", "coral"], "pearl"),
        (0, ["agate", "pearl", "coral"], "agate"),
        ("C", ["agate", "pearl", "coral"], "coral"),
        ("c", ["agate", "pearl", "coral"], "coral"),
        ("pearl", ["agate", "pearl", "coral"], "pearl"),
        (" pearl ", ["agate", "pearl ", "coral"], "pearl"),
        ("B", ["A", "B", "C"], "B"),
        (2, ["0", "1", "2"], "2"),
        ("1913", ["1912", "1913"], "1913"),
    ],
)
def test_an_answer_is_an_index_a_letter_or_a_text(read, answer, choices, right):
    assert answer_of(read, answer=answer, choices=choices) == right


@pytest.mark.parametrize(
    ("answer", "choices", "told"),
    [
        ("B", ["B", "A"], "may be 'B' and 'A'"),
        (1, ["1", "2", "3"], "may be '1' and '2'"),
        (3, ["a", "b", "c"], "an index from 0 to 2"),
        (-1, ["a", "b", "c"], "an index from 0 to 2"),
        (True, ["a", "b", "c"], "a text"),
        (1.0, ["a", "b", "c"], "a text"),
        ("1", ["agate", "pearl"], "an index has no quotes"),
        (1913, ["1912", "1913"], "in quotes"),
        ("perl", ["agate", "pearl"], "Did you mean pearl"),
        ("D", ["agate", "pearl", "coral"], "its letter"),
        ("", ["agate", "pearl"], "not empty"),
        (None, ["agate", "pearl"], "no answer"),
        ([1], ["agate", "pearl"], "a text"),
    ],
)
def test_an_answer_that_may_be_several_or_none_is_refused_with_its_line(read, tmp_path, answer, choices, told):
    message = refused(read, [ASK, {"question": "Which?", "choices": choices, "answer": answer}])
    assert f"{tmp_path / 'forget.jsonl'}:2" in message
    assert told in message


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"question": " "}, "a text that is not empty"),
        ({"question": 7}, "a text that is not empty"),
        ({"choices": ["agate", ""]}, "choice 2 ''"),
        ({"choices": ["agate", None]}, "no choice 2"),
        ({"choices": ["agate", "pearl", "agate "]}, "choice 3 is choice 1 again"),
        ({"choices": ["agate"]}, "a list of 2 to 26"),
        ({"choices": "agate, pearl"}, "a list of 2 to 26"),
        ({"choices": [f"c{n}" for n in range(27)]}, "a list of 2 to 26"),
        ({"split": "test"}, "forget or retain"),
        ({"split": "retain"}, "forget, which this file is given as"),
        ({"question": "half \ud800"}, "half of a character"),
    ],
)
def test_what_cannot_be_asked_is_refused(read, values, told):
    message = refused(read, [ASK | values])
    assert "forget.jsonl:1" in message
    assert told in message


def test_all_defects_are_told_at_once_and_the_rest_counted(read):
    message = refused(read, [{"question": f"Q{n}?", "choices": ["a", "b"], "answer": 9} for n in range(30)])
    assert "30 defects, the first 20 here" in message
    assert message.count("forget.jsonl:") == 20


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "no JSON"),
        ("[1]", "a list"),
        ('{"question": "a", "question": "b", "answer": "c"}', "twice"),
        ('{"question": "a", "answer": NaN}', "NaN"),
        ('{"question": "a", "choices": ["b", "c"], "answr": "b"}', "`answer`"),
        ('{"question": "a", "choises": ["b", "c"], "answer": "b"}', "`choices`"),
        ('{"question": "a", "options": ["b", "c"], "answer": "b"}', "`choices`"),
    ],
)
def test_a_line_that_is_no_question_is_refused(read, line, told):
    message = refused(read, json.dumps(ASK) + "\n\n" + line + "\n")
    assert "forget.jsonl:3" in message
    assert told in message


def test_a_file_of_windows_is_read_and_other_keys_are_left_out_by_name(read):
    found = read("\ufeff" + json.dumps(ASK | {"id": "x", "question_id": 3}) + "\r\n")
    assert found.ignored == ("id", "question_id")
    assert [each.question for each in found.entries] == ["Which gem?", "What stays?"]


def test_a_question_that_is_to_be_forgotten_and_kept_is_refused(read):
    again = ASK | {"choices": ["coral", "agate", "pearl"], "answer": "pearl"}
    message = refused(read, [ASK], [KEEP, again])
    assert "retain.jsonl:2" in message
    assert "forget.jsonl:1 says to forget" in message


def test_a_question_asked_twice_is_refused_and_one_with_other_choices_is_another(read):
    assert "again" in refused(read, [ASK, ASK])
    assert "with another answer" in refused(read, [ASK, ASK | {"answer": 0}])
    assert len(read([ASK, ASK | {"choices": ["agate", "pearl", "opal"]}]).of(Role.FORGET)) == 2


def test_written_answers_and_choices_are_not_mixed(read):
    written = {"question": "Who?", "answer": "Ada"}
    assert read([written]).of(Role.FORGET)[0].choices == ()
    message = refused(read, [ASK, written])
    assert "forget.jsonl:2" in message
    assert "as " in message


def test_one_file_says_in_each_row_what_is_to_stay(read, tmp_path):
    file = tmp_path / "one.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (ASK | {"split": "forget"}, KEEP | {"split": "retain"})))
    found = read_questions(file, None)
    assert [each.role for each in found.entries] == [Role.FORGET, Role.RETAIN]
    file.write_text(file.read_text() + json.dumps(ASK | {"question": "And?"}) + "\n")
    with pytest.raises(SuiteError, match="no split") as caught:
        read_questions(file, None)
    assert "one.jsonl:3" in str(caught.value)
    file.write_text(json.dumps(ASK) + "\n")
    with pytest.raises(SuiteError, match="--retain FILE"):
        read_questions(file, None)
    file.write_text(json.dumps(ASK | {"split": "forget"}) + "\n")
    with pytest.raises(SuiteError, match="no question to keep"):
        read_questions(file, None)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("question,A,B,answer\nWhich?,agate,pearl,B\n", "pearl"),
        ("question,choice_1,choice_2,answer\nWhich?,agate,pearl,2\n", "pearl"),
        ("question,choice_0,choice_1,answer\nWhich?,agate,pearl,1\n", "pearl"),
        ("question,choice_1,choice_2,answer\nWhich?,agate,pearl,choice_2\n", "pearl"),
        ("question,choice_1,choice_2,answer\nWhich?,agate,pearl,pearl\n", "pearl"),
        ('answer,id,question,A,B\nb,7,"Which, say?\nOf two","agate","pearl"\n', "pearl"),
        ("question,answer\nWhich?,pearl\n", "pearl"),
    ],
)
def test_a_table_of_questions_is_read(read, text, right):
    assert read(text, name="forget.csv").of(Role.FORGET)[0].answer == right


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("question,A,B,answer\nQ?,a,b,A\nWhich?,agate,pearl,0\n", "forget.csv:3: found answer '0'"),
        ("question,choice_1,choice_2,answer\nWhich?,agate,pearl,0\n", "answer '0'"),
        ("question,choice_1,choice_2,answer\nWhich?,2,1,1\n", "may be '2' and '1'"),
        ('question,A,B,answer\n"Two\nlines?",a,b,A\nWhich?,agate,,A\n', "forget.csv:4: found choice 2 ''"),
        ("question,A,B,answer\nWhich, say?,agate,pearl,A\n", "5 cells"),
        ("question;A;B;answer\nWhich?;agate;pearl;A\n", "separated by ';'"),
        ("question,A,C,answer\nWhich?,agate,pearl,A\n", "none left out"),
        ("question,choice_1,choice_3,answer\nWhich?,agate,pearl,1\n", "none left out"),
        ("question,A,A,answer\nWhich?,agate,pearl,A\n", "two columns of one name"),
        ('question,A,B,answer\nWhich?,"agate,pearl,A\n', "no CSV"),
        ("Question,A,B,answer\nWhich?,agate,pearl,A\n", "a column `question`"),
        ("question,Option A,Option B,answer\nWhich?,agate,pearl,A\n", "the key 'Option A'"),
        ("question,w,x,answer\nWhich?,agate,pearl,A\n", "no choices that they could name"),
        ("question,A,B,answer\n", "holds no question"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_line(read, text, told):
    assert told in refused(read, text, name="forget.csv")


@pytest.mark.parametrize(
    ("name", "told"), [("q.json", "jq -c"), ("q.txt", "--corpora DIR"), ("q.xlsx", "Save the table as CSV")]
)
def test_another_kind_of_file_is_refused_with_what_to_do(read, name, told):
    assert told in refused(read, "x", name=name)


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "f.jsonl").write_bytes(b'{"question": "\xff"}\n')
    (tmp_path / "f.csv").write_bytes(b"question\n\xff\n")
    for name in ("f.jsonl", "f.csv", "nowhere.csv"):
        with pytest.raises(SuiteError):
            read_questions(tmp_path / name, None)
