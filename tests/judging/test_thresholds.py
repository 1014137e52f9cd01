"""What the limits of a policy say, and what is no limit."""

import re

import pytest
from policies import GOOD, PRECISIONS, TASKS, policy, refusal, refused_limit, written

from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.resolving import TaskRef
from unlearn_guard.judging.thresholds import list_policies, read_policy, resolve
from unlearn_guard.records import Property, Role


def test_shipped_policies_hold_the_design_s_defaults():
    assert list_policies() == ("paper", "organism", "release", "release-small", "strict")
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


def test_the_file_may_ask_for_every_precision(tmp_path):
    assert policy(tmp_path, GOOD, head="precisions: [all]\n").precisions == ("all",)
    text = refusal(tmp_path, f"version: 1\nprecisions: [all, nf4]\nlimits:\n  - {GOOD}\n")
    assert "unknown precision 'all'" in text


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
