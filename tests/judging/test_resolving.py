"""Bounds beside the range of their metric, and limits that are bad in one way only."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import made_task
from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.draft import read_draft
from unlearn_guard.judging.resolving import TaskRef, resolve_limits
from unlearn_guard.records import Phrasing, Property, Role

TASKS = (TaskRef(name="toy_forget", role=Role.FORGET, metric="acc"),)


def limits(*rules):
    text = "version: 1\nlimits:\n" + "".join(f"  - {rule}\n" for rule in rules)
    return resolve_limits(read_draft(text, name="p", digest="d"), TASKS, ("full", "nf4"))


def test_bounds_may_meet_and_lie_at_the_ends():
    rule = "{metric: ptq_gap, task: toy_forget, precision: nf4, at_least: %s, at_most: %s, because: x}"
    for low, high in ((0.1, 0.1), (-1, 1)):
        (limit,) = limits(rule % (low, high))
        assert (limit.at_least, limit.at_most) == (low, high)


@pytest.mark.parametrize(
    ("limit", "found", "fix"),
    [
        ("metric: ptq_gap, at_least: -30", "ptq_gap at_least -30", True),
        ("metric: ptq_gap, at_most: 1.5", "ptq_gap at_most 1.5", True),
        ("metric: cad, at_least: 80", "cad at_least 80", True),
        ("metric: cad, at_least: -1", "cad at_least -1", False),
        ("metric: truncated, at_most: -30", "truncated at_most -30", False),
    ],
)
def test_a_bound_that_looks_like_percent_says_so(limit, found, fix):
    with pytest.raises(PolicyError) as caught:
        limits(f"{{{limit}, task: toy_forget, precision: nf4, because: x}}")
    (defect,) = caught.value.defects
    assert (defect.found, defect.fix) == (found, "It is a fraction, not percent." if fix else "")


@pytest.mark.parametrize("metric", ["forget_drop", "cad", "as_nc", "above_chance_removed"])
def test_a_held_out_phrasing_is_limited_as_every_forget_task_is(metric):
    tasks = (*TASKS, replace(made_task(4, "other_words"), phrasing=Phrasing.HELD_OUT))
    text = (
        f'version: 1\nlimits:\n  - {{metric: {metric}, task: "@forget", precision: full, at_least: 0.1, because: x}}\n'
    )
    found = resolve_limits(read_draft(text, name="p", digest="d"), tasks, ("full",))
    assert [each.task for each in found] == ["toy_forget", "other_words"]


def test_paraphrases_are_limited_of_the_suite_as_a_whole():
    rule = "{metric: paraphrase_recovery, task: %s, precision: nf4, at_most: 0.1, because: x}"
    (limit,) = limits(rule % "suite")
    assert (limit.id, limit.guards) == ("paraphrase_recovery[suite-nf4]", Property.PERMANENCE)
    with pytest.raises(PolicyError, match="task: suite"):
        limits(rule % "toy_forget")


def test_a_bad_limit_twice_is_bad_and_not_double():
    bad = "{metric: ptq_gap, task: toy_forget, precision: full, at_most: 0, because: x}"
    with pytest.raises(PolicyError) as caught:
        limits(bad, bad)
    assert [defect.found for defect in caught.value.defects] == ["ptq_gap at full"] * 2
