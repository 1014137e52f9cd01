import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn_guard.errors import ExitStatus, PolicyError
from unlearn_guard.judging.resolving import TaskRef
from unlearn_guard.judging.thresholds import MAX_BYTES, list_policies, policy_file, read_policy, resolve
from unlearn_guard.records import Property, Role

TASKS = (
    TaskRef(name="toy_forget", role=Role.FORGET, metric="acc"),
    TaskRef(name="toy_forget_rouge", role=Role.FORGET, metric="rougeL"),
    TaskRef(name="toy_retain", role=Role.RETAIN, metric="acc"),
)
PRECISIONS = ("full", "nf4", "gptq", "awq")
GOOD = '{metric: ptq_gap, task: "@forget", precision: nf4, at_most: 0.0, because: x}'


def written(tmp_path, text):
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def policy(tmp_path, *limits, head=""):
    text = f"version: 1\n{head}limits:\n" + "".join(f"  - {limit}\n" for limit in limits)
    return resolve(read_policy(written(tmp_path, text)), TASKS, PRECISIONS)


def refusal(tmp_path, text):
    with pytest.raises(PolicyError) as error:
        resolve(read_policy(written(tmp_path, text)), TASKS, PRECISIONS)
    assert error.value.exit_status is ExitStatus.USAGE
    return str(error.value)


def refused_limit(tmp_path, limit):
    text = refusal(tmp_path, f"version: 1\nlimits:\n  - {limit}\n")
    assert re.search(r"thresholds\.yaml:3: found ", text), text
    return text


def test_shipped_policies_hold_the_design_s_defaults():
    assert list_policies() == ("paper", "organism", "strict")
    found = {limit.id: limit for limit in resolve(read_policy("paper"), TASKS, PRECISIONS).limits}
    assert found["forget_drop[toy_forget-full]"].at_least == 0.30
    assert found["forget_drop[toy_forget-full]"].guards is Property.FORGETTING
    for precision in PRECISIONS:
        assert found[f"retain_drop[toy_retain-{precision}]"].at_most == 0.15
    for precision in PRECISIONS[1:]:
        assert found[f"ptq_gap[toy_forget-{precision}]"].at_most == 0.0
        assert found[f"forget_drop[toy_forget-{precision}]"].at_least == 0.30
        assert found[f"forget_drop[toy_forget-{precision}]"].guards is Property.PERMANENCE
    assert found["cad[toy_forget-full]"].at_least == found["cad[toy_forget-nf4]"].at_least == 0.80
    assert found["as_nc[toy_forget-full]"].at_most == 0.30
    assert found["cad[toy_forget-nf4]"].guards is Property.ERASURE
    assert found["quantized_share[weights-nf4]"].at_least == 0.95
    for precision in ("full", "nf4"):
        assert found[f"dtype_gap[toy_forget-{precision}]"].at_most == 0.10
    assert found["dtype_gap[toy_forget-full]"].guards is Property.FORGETTING
    assert len(found) == 2 * 9 + 4 + 2 * 3 + 3
    assert all(limit.confidence is None and limit.because for limit in found.values())


def test_the_organism_differs_from_paper_in_as_nc_alone():
    paper, organism = (
        {limit.id: limit for limit in resolve(read_policy(name), TASKS, PRECISIONS).limits}
        for name in ("paper", "organism")
    )
    assert set(paper) == set(organism)
    differing = {
        name
        for name, limit in paper.items()
        if (limit.at_least, limit.at_most) != (organism[name].at_least, organism[name].at_most)
    }
    assert {name.partition("[")[0] for name in differing} == {"as_nc"}


def test_strict_asks_two_points_at_95():
    found = {limit.id: limit for limit in resolve(read_policy("strict"), TASKS, PRECISIONS).limits}
    drop = found["retain_drop[toy_retain-nf4]"]
    assert (drop.at_most, drop.confidence) == (0.02, 0.95)
    assert found["forget_drop[toy_forget-full]"].confidence == 0.95
    assert found["ptq_gap[toy_forget-awq]"].at_most == 0.0


def test_the_file_may_name_base_suite_and_precisions(tmp_path):
    head = "base: ./base\nsuite: toy\nprecisions: [full, nf4]\n"
    found = policy(tmp_path, GOOD, head=head)
    assert (found.base, found.suite, found.precisions) == ("./base", "toy", ("full", "nf4"))
    assert found.digest.startswith("sha256:")
    assert found.text == (tmp_path / "thresholds.yaml").read_text()
    text = refusal(tmp_path, f"version: 1\nprecisions: [ful]\nlimits:\n  - {GOOD}\n")
    assert "thresholds.yaml:1: found unknown precision 'ful'; expected a known precision" in text


def test_roles_and_lists_become_one_limit_each(tmp_path):
    found = policy(tmp_path, '{metric: ptq_gap, task: "@forget", precision: [nf4, awq], at_most: 0, because: x}')
    assert [limit.id for limit in found.limits] == [
        "ptq_gap[toy_forget-nf4]",
        "ptq_gap[toy_forget-awq]",
        "ptq_gap[toy_forget_rouge-nf4]",
        "ptq_gap[toy_forget_rouge-awq]",
    ]
    assert {limit.line for limit in found.limits} == {3}


def test_a_probe_with_the_same_score_does_not_lift_the_range_of_a_task(tmp_path):
    """30 for 0.30 holds for every accuracy there is."""
    tasks = (*TASKS, TaskRef(name="toy_probe", role=Role.PROBE, metric="acc"))
    text = 'version: 1\nlimits:\n  - {metric: acc, task: "%s", precision: full, at_most: 30, because: x}\n'
    for name in ("toy_forget", "@retain"):
        with pytest.raises(PolicyError, match="acc at_most 30"):
            resolve(read_policy(written(tmp_path, text % name)), tasks, PRECISIONS)
    (limit,) = resolve(read_policy(written(tmp_path, text % "toy_probe")), tasks, PRECISIONS).limits
    assert limit.at_most == 30


def test_weights_and_scores_can_be_limited(tmp_path):
    found = policy(
        tmp_path,
        "{metric: code_flip_rate, task: weights, precision: nf4, at_least: 0.01, because: x}",
        "{metric: acc, task: toy_retain, precision: full, at_least: 0.5, because: x}",
        "{metric: rougeL, task: toy_forget_rouge, precision: full, at_most: 0.5, because: x}",
        '{metric: cad, task: "@forget", precision: [full, nf4], at_least: 0.8, because: x}',
    )
    assert found.limits[0].id == "code_flip_rate[weights-nf4]"
    assert found.limits[1].guards is Property.RETENTION


def test_scientific_notation_is_a_number(tmp_path):
    found = policy(tmp_path, '{metric: ptq_gap, task: "@forget", precision: nf4, at_most: 1e-3, because: x}')
    assert found.limits[0].at_most == 0.001


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ("at_most: .inf", "finite"),
        ("at_most: .nan", "finite"),
        ("at_most: 1e999", "finite"),
        ("at_most: no", "'no'; expected a finite number"),
        ("at_most: true", "at_most true; expected a finite number"),
        ("at_most: '0.1'", "'0.1'; expected a finite number"),
        ("at_most: 012", "plain decimal"),
        ("at_most: 1_0", "plain decimal"),
        ("at_most: 0x1", "plain decimal"),
        ("at_most: [0.1]", "finite number"),
        ("at_most:", "at_most or|no bound"),
        ("at_most: 30", "at_most 30; expected -1 to 1 .*fraction, not percent"),
        ("at_least: 0.5, at_most: 0.2", "at_least 0.5 above at_most 0.2"),
        ("at_most: 0.1, confidence: 0.94", "0.9, 0.95, 0.99"),
        ("at_most: 0.1, confidence: 95", "0.9, 0.95, 0.99"),
        ("at_mots: 0.1", "unknown key 'at_mots'.*Did you mean at_most"),
        ("at_most: 0.1, at_most: 0.9", "'at_most' again .first in line 3."),
        ("at_most: &x 0.1", "anchor"),
        ("at_most: !!float 0.1", "tag"),
    ],
)
def test_numbers_that_are_not_bounds(tmp_path, bound, said):
    text = refused_limit(tmp_path, f'{{metric: ptq_gap, task: "@forget", precision: nf4, because: x, {bound}}}')
    assert re.search(said, text), text


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("{metric: ptq_gpa, task: toy_forget, precision: nf4}", "unknown metric 'ptq_gpa'.*Did you mean ptq_gap"),
        ("{metric: ptq_gap, task: toy_forgot, precision: nf4}", "unknown task 'toy_forgot'.*toy_forget"),
        ("{metric: ptq_gap, task: toy_forget, precision: nf5}", "unknown precision 'nf5'.*nf4"),
        ("{metric: ptq_gap, task: toy_forget, precision: full}", "every quantized precision"),
        ("{metric: ptq_gap, task: toy_retain, precision: nf4}", "toy_retain, a retain task; expected .*forget tasks"),
        ("{metric: retain_drop, task: '@forget', precision: nf4}", "expected retain_drop of retain tasks"),
        ("{metric: code_flip_rate, task: toy_forget, precision: nf4}", "expected task: weights"),
        ("{metric: ptq_gap, task: weights, precision: nf4}", "expected a task of the suite"),
        ("{metric: code_flip_rate, task: weights, precision: gptq}", "code_flip_rate at nf4"),
        ("{metric: rougeL, task: toy_forget, precision: full}", "expected acc"),
        ("{metric: 3, task: toy_forget, precision: nf4}", "metric 3"),
        ("{metric: ptq_gap, task: [toy_forget], precision: nf4}", "task a list"),
        ("{metric: ptq_gap, task: toy_forget, precision: []}", "empty list of precision"),
        ("{metric: ptq_gap, task: toy_forget, precision: 4}", "precision 4; expected a precision or a list of them"),
        ("{metric: ptq_gap, task: {a: 1}, precision: nf4}", "task a mapping; expected a task"),
        ("{metric: false, task: toy_forget, precision: nf4}", "metric false; expected a metric"),
        ("{metric: ptq_gap, task: toy_forget, precision: [nf4, 4]}", "precision 4; expected a precision"),
    ],
)
def test_names_that_nothing_produces(tmp_path, limit, said):
    text = refused_limit(tmp_path, limit[:-1] + ", at_most: 0.1, because: x}")
    assert re.search(said, text), text


@pytest.mark.parametrize("because", ["", ", because: ''", ", because: ' '", ', because: "a\\nb\\n"', ", because: 3"])
def test_a_limit_says_where_it_comes_from(tmp_path, because):
    text = refused_limit(tmp_path, f"{{metric: ptq_gap, task: toy_forget, precision: nf4, at_most: 0{because}}}")
    assert "because" in text


def test_a_folded_reason_is_one_line(tmp_path):
    text = f"version: 1\nlimits:\n  - {GOOD}\n".replace("because: x}", "because: a\n      reason}")
    assert resolve(read_policy(written(tmp_path, text)), TASKS, PRECISIONS).limits[0].because == "a reason"


def test_the_same_limit_twice(tmp_path):
    text = refusal(tmp_path, f"version: 1\nlimits:\n  - {GOOD}\n  - {GOOD}\n")
    assert "thresholds.yaml:4: found a second limit ptq_gap[toy_forget-nf4] (first in line 3)" in text


def test_a_role_the_suite_lacks(tmp_path):
    draft = read_policy(written(tmp_path, f"version: 1\nlimits:\n  - {GOOD}\n"))
    with pytest.raises(PolicyError, match="no such task"):
        resolve(draft, TASKS[2:], PRECISIONS)


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
    with pytest.raises(PolicyError, match="paper, strict"):
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
