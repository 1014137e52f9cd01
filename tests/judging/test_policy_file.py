"""Which bytes are a policy, and what is said of those that are none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import GOOD, refusal, written

from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.thresholds import MAX_BYTES, policy_file, read_policy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing"),
        ("# only a comment\n", "nothing"),
        ("[]", "a list"),
        ("just text", "a text"),
        ("version: 1", "no limits"),
        ("version: 1\nlimits: []", "empty policy"),
        ("version: 1\nlimits:", "limits without a value"),
        ("version: 1\nlimits: 3", "limits 3"),
        ("version: 1\nlimits: [3]", "an entry that is 3"),
        (f"limits:\n  - {GOOD}", "no version"),
        (f"version: 2\nlimits:\n  - {GOOD}", "version: 1"),
        (f"version: true\nlimits:\n  - {GOOD}", "version true"),
        (f"version: 1\nlimit:\n  - {GOOD}", "Did you mean limits"),
        (f"version: 1\nmetric: x\nlimits:\n  - {GOOD}", "unknown key 'metric'.*limits, .*suite, version"),
        (f"version: 1\nlimits:\n  - {GOOD[:-1]}, suite: x}}", "unknown key 'suite'.*at_least, .*precision, task"),
        (f"version: 1\nprecisions: []\nlimits:\n  - {GOOD}", "empty list of precisions"),
        (f"version: 1\nprecisions: [4]\nlimits:\n  - {GOOD}", "precisions 4"),
        ("12", "a number"),
        ("true", "a true or false"),
        (f"version: 1\nlimits:\n  - {GOOD}\n---\nversion: 1", "second document"),
        (f"%YAML 1.1\n---\nversion: 1\nlimits:\n  - {GOOD}", "directive"),
        ("a: &a [1]\nb: *a", "alias"),
        ('a: "\\ud834"', "half of a character"),
        ('"\\udd1e": 1', "a key that is not a word"),
        ("? [a]\n: 1", "not a word"),
        ("[" * 5000, "nested"),
        ("version: 'x", "expected YAML"),
        ("\tversion: 1", "expected YAML"),
        (b"version: \xff", "byte 0xff; expected UTF-8"),
        (b"\xff\xfev\x00", "UTF-8"),
        (b"version: \x00", "expected YAML"),
        (b"#" * (MAX_BYTES + 1), "too large"),
    ],
)
def test_files_that_are_no_policy(tmp_path, text, said):
    assert re.search(said, refusal(tmp_path, text))


def test_a_billion_laughs_is_refused_unread(tmp_path):
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "anchor" in refusal(tmp_path, "\n".join(lines))


def test_all_defects_come_at_once_in_the_file_s_order(tmp_path):
    text = refusal(
        tmp_path,
        "version: 3\nsute: x\nlimits:\n  - {metric: ptq_gap, task: a, precision: nf4, at_most: .inf, because: x}\n"
        "  - {metric: ptq_gap, task: a, precision: nf4, at_most: 0, at_most: 1, because: x}\n",
    )
    lines = [int(line) for line in re.findall(r"thresholds\.yaml:(\d+): found", text)]
    assert lines == [1, 2, 4, 5]


def test_a_byte_order_mark_is_no_part_of_a_policy(tmp_path):
    text = f"\ufeffversion: 1\nlimits:\n  - {GOOD}\n"
    assert read_policy(written(tmp_path, text)).rules == read_policy(written(tmp_path, text[1:])).rules


def test_a_policy_may_have_as_many_bytes_as_it_says(tmp_path):
    text = f"version: 1\nlimits:\n  - {GOOD}\n#".encode()
    assert read_policy(written(tmp_path, text + b"#" * (MAX_BYTES - len(text)))).rules
    with pytest.raises(PolicyError, match="too large"):
        read_policy(written(tmp_path, text + b"#" * (MAX_BYTES + 1 - len(text))))


def test_the_line_of_a_byte_that_is_no_text(tmp_path):
    assert "thresholds.yaml:3: found byte 0xff" in refusal(tmp_path, b"version: 1\nlimits:\n  \xff\n")


def test_missing_file_names_the_shipped_policies(tmp_path):
    with pytest.raises(PolicyError, match="paper, organism, release, release-small, strict"):
        read_policy(tmp_path / "none.yaml")
    with pytest.raises(PolicyError, match="Did you mean strict"):
        read_policy("strct")
    with pytest.raises(PolicyError, match="directory"):
        read_policy(tmp_path)


def test_a_name_finds_its_file(tmp_path):
    assert policy_file("paper").name == "thresholds.yaml"
    assert policy_file("strict").name == "strict.yaml"
    assert policy_file(tmp_path / "strict") == tmp_path / "strict"


@given(st.binary(max_size=200))
def test_bytes_are_a_policy_or_a_policy_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(PolicyError):
        read_policy(path)


@given(st.text(alphabet="{}[]:,-\"'&*!|>%@#\n ab1.", max_size=60))
def test_almost_yaml_is_a_policy_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text("version: 1\nlimits:\n  - " + text)
    with pytest.raises(PolicyError):
        read_policy(path)
