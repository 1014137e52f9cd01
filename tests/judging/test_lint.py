"""Limits that nothing breaks, and suites that cannot tell: each warning, and the honest policy that has none."""

from dataclasses import replace

import pytest

from tests.oracles.made_scores import made_limit, made_task
from unlearn_guard.judging.draft import read_draft
from unlearn_guard.judging.lint import draft_warnings, policy_warnings, suite_warnings
from unlearn_guard.judging.thresholds import list_policies, read_policy
from unlearn_guard.records import Phrasing, Role

GONE = replace(made_task(100), phrasing=Phrasing.HELD_OUT)  # so that nothing is said of the phrasing
KEPT = made_task(100, "kept", Role.RETAIN)
TASKS = (GONE, KEPT)
SOUND = (
    made_limit("forget_drop", at_least=0.3),
    made_limit("ptq_gap", precision="nf4", at_most=0.0),
    made_limit("retain_drop", task="kept", at_most=0.15),
)
FULL_FORGET = "policy: no limit asks in full precision whether anything is forgotten, as forget_drop at_least 0.3 would"
QUANTIZED = "policy: no limit at a quantized precision asks whether it stays forgotten: deployed models are quantized"
STAYED = "policy: no limit asks whether anything has stayed: a model that answers nothing passes"


def of_limit(metric, task="forget_task", precision="full", **bounds):
    """What is said of this limit beside three that are sound."""
    limit = made_limit(metric, task=task, precision=precision, **bounds)
    return policy_warnings([*SOUND, limit], TASKS)


def test_a_sound_policy_has_no_warnings():
    assert policy_warnings(SOUND, TASKS) == ()


@pytest.mark.parametrize("missing", range(3))
def test_what_no_limit_asks_is_said(missing):
    left = [limit for at, limit in enumerate(SOUND) if at != missing]
    assert policy_warnings(left, TASKS) == ((FULL_FORGET, QUANTIZED, STAYED)[missing],)
    assert policy_warnings([], TASKS) == (FULL_FORGET, QUANTIZED, STAYED)


def test_the_score_of_a_task_asks_what_its_role_is_for():
    scores = (
        made_limit("acc", at_most=0.3),
        made_limit("acc", precision="nf4", at_most=0.3),
        made_limit("acc", task="kept", at_least=0.5),
    )
    assert policy_warnings(scores, TASKS) == ()
    assert policy_warnings(scores[:2], TASKS) == (STAYED,)
    assert policy_warnings(scores[2:], TASKS) == (FULL_FORGET, QUANTIZED)


def test_a_forget_drop_of_a_quantized_model_alone_asks_nothing_of_the_model_itself():
    quantized = (made_limit("forget_drop", precision="nf4", at_least=0.3), SOUND[2])
    assert policy_warnings(quantized, TASKS) == (FULL_FORGET,)
    assert policy_warnings((SOUND[0], SOUND[2]), TASKS) == (QUANTIZED,)
    assert policy_warnings((*SOUND[::2], replace(SOUND[1], precision="full")), TASKS) == (QUANTIZED,)


def test_every_forget_task_is_asked_in_full_precision():
    other = made_task(100, "other")
    (said,) = policy_warnings(SOUND, (*TASKS, other))
    assert said == (
        "policy: no limit asks in full precision whether other is forgotten, though others of the suite are asked"
    )
    assert policy_warnings((*SOUND, made_limit("forget_drop", task="other", at_least=0.3)), (*TASKS, other)) == ()
    assert policy_warnings(SOUND[1:], (*TASKS, other)) == (FULL_FORGET,), "once, where nothing is asked at all"


@pytest.mark.parametrize(
    ("metric", "task", "precision", "bounds", "given"),
    [
        ("ptq_gap", "forget_task", "nf4", {"at_least": -1.0}, "at_least -1"),
        ("forget_drop", "forget_task", "full", {"at_least": 0.0}, "at_least 0"),
        ("forget_drop", "forget_task", "full", {"at_most": 1.0}, "at_most 1"),
        ("forget_drop", "forget_task", "full", {"at_least": -0.5, "at_most": 1.0}, "at_least -0.5 and at_most 1"),
        ("cad", "forget_task", "full", {"at_least": 0.0}, "at_least 0"),
        ("acc", "kept", "full", {"at_least": 0.0}, "at_least 0"),
        ("acc", "forget_task", "full", {"at_most": 1.0}, "at_most 1"),
    ],
)
def test_a_bound_at_the_end_of_what_can_be_is_broken_by_nothing(metric, task, precision, bounds, given):
    (said,) = of_limit(metric, task, precision, **bounds)
    name = f"policy: {metric}[{task}-{precision}]"
    assert said == f"{name}: {given} is broken by nothing: a limit that cannot fail says nothing"


@pytest.mark.parametrize(
    ("metric", "task", "precision", "bounds", "said"),
    [
        ("ptq_gap", "forget_task", "nf4", {"at_least": 0.0}, "lower is safer, so it needs at_most"),
        ("forget_drop", "forget_task", "full", {"at_most": 0.3}, "higher is safer, so it needs at_least"),
        ("acc", "forget_task", "full", {"at_least": 0.3}, "lower is safer, so it needs at_most"),
        ("acc", "kept", "full", {"at_most": 0.9}, "higher is safer, so it needs at_least"),
        ("truncated", "kept", "full", {"at_least": 0.5}, "lower is safer, so it needs at_most"),
        ("cad", "forget_task", "full", {"at_most": 0.8}, "higher is safer, so it needs at_least"),
    ],
)
def test_a_bound_on_the_safe_side_alone_guards_nothing(metric, task, precision, bounds, said):
    (found,) = of_limit(metric, task, precision, **bounds)
    assert found == f"policy: {metric}[{task}-{precision}] is bounded from the side that is not at risk: {said}"
    assert of_limit(metric, task, precision, **{"at_least": 0.01, "at_most": 0.99} | bounds) == ()


@pytest.mark.parametrize("bounds", [{"at_least": -10.0}, {"at_most": 10.0}])
def test_privleak_is_bounded_on_both_sides(bounds):
    leak = made_task(40, "leak", Role.PROBE, 0.0, "min_k")
    (said,) = policy_warnings([*SOUND, made_limit("privleak", task="leak", **bounds)], (*TASKS, leak))
    assert said == "policy: privleak[leak-full] is bounded on one side, and both are signs of what should be gone"
    assert policy_warnings([*SOUND, made_limit("privleak", task="leak", at_least=-10.0, at_most=10.0)], TASKS) == ()


def test_a_limit_that_cannot_fail_asks_nothing():
    idle = [SOUND[0], SOUND[1], made_limit("retain_drop", task="kept", at_most=1.0)]
    broken_by_nothing, stayed = policy_warnings(idle, TASKS)
    assert "at_most 1 is broken by nothing" in broken_by_nothing
    assert stayed == STAYED


def test_the_score_of_a_probe_has_no_end_and_no_safe_side():
    probe = made_task(40, "leak", Role.PROBE, 0.0, "min_k")
    for bounds in ({"at_most": 30.0}, {"at_least": 3.0}):
        assert policy_warnings([*SOUND, made_limit("min_k", task="leak", **bounds)], (*TASKS, probe)) == ()


def test_the_same_warning_is_said_once():
    twice = [made_limit("ptq_gap", precision="nf4", at_least=0.0)] * 2
    assert len(policy_warnings([*SOUND, *twice], TASKS)) == 1


RULES = """\
version: 1
limits:
  - {metric: forget_drop, task: "@forget", precision: [full, nf4], at_least: 0.3, because: x}
"""


def drafted(*rules):
    return draft_warnings(read_draft(RULES + "".join(f"  - {rule}\n" for rule in rules), name="p.yaml", digest="d"))


def test_a_draft_is_read_without_its_suite():
    assert drafted() == (STAYED,)
    assert drafted('{metric: retain_drop, task: "@retain", precision: full, at_most: 0.1, because: x}') == ()
    assert drafted('{metric: acc, task: "@retain", precision: full, at_least: 0.1, because: x}') == ()
    (said, _) = drafted('{metric: acc, task: "@forget", precision: full, at_least: 0.1, because: x}')
    assert said.startswith("policy: acc[@forget-full] is bounded from the side that is not at risk")


def test_of_a_named_task_a_draft_does_not_know_what_its_score_asks():
    """It may be what stays, or what is to go: nothing is said to be missing. Of the weights it is known."""
    assert drafted("{metric: acc, task: mmlu, precision: full, at_least: 0.5, because: x}") == ()
    assert drafted("{metric: code_flip_rate, task: weights, precision: nf4, at_least: 0.5, because: x}") == (STAYED,)


def test_every_shipped_policy_asks_all_there_is_to_ask():
    assert [draft_warnings(read_policy(name)) for name in list_policies()] == [()] * len(list_policies())


def asked(*prompts_of, complete=True, tasks=TASKS):
    return suite_warnings(tasks, dict(zip([task.name for task in tasks], prompts_of, strict=False)), complete=complete)


def numbered(count, first=0):
    return [f"p{index}" for index in range(first, first + count)]


def test_a_sound_suite_has_no_warnings():
    assert asked(numbered(100), numbered(100, 100)) == ()


def test_fewer_than_a_hundred_forget_items_tell_nothing():
    few = (replace(GONE, items=99), KEPT)
    (said,) = asked(numbered(99), numbered(100, 100), tasks=few)
    assert said == "suite: forget_task asks 99 items: fewer than 100 do not tell a few points from chance"
    assert asked(numbered(99), numbered(100, 100), tasks=few, complete=False) == (), "a part was asked for"
    assert asked(numbered(100), numbered(9, 100), tasks=(GONE, replace(KEPT, items=9))) == ()


def test_items_that_repeat_others_are_counted_from_five_in_a_hundred():
    assert asked(numbered(95) + ["p0"] * 5, numbered(100, 100)) == ()
    (said,) = asked(numbered(94) + ["p0"] * 6, numbered(100, 100))
    assert said == "suite: forget_task asks 94 different items: 6 of 100 repeat another"
    probe = made_task(100, "leak", Role.PROBE)
    assert asked(numbered(100), numbered(100, 100), ["q"] * 100, tasks=(*TASKS, probe)) == ()


def test_what_is_to_go_and_to_stay_at_once_is_said():
    (said,) = asked(numbered(100), numbered(100, 98))
    assert said == "suite: 2 items of forget_task, to be forgotten, are also asked by kept, to be kept"
    other = made_task(100, "other")
    assert asked(numbered(100), numbered(100, 100), numbered(100), tasks=(*TASKS, other)) == ()
    assert asked() == (), "of what was not asked nothing is known"


def test_a_suite_of_one_phrasing_says_so():
    (said,) = asked(numbered(100), numbered(100, 100), tasks=(made_task(100), KEPT))
    assert said.startswith("suite: one phrasing asked: no forget task says `phrasing: held_out`")
