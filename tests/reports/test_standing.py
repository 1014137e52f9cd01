"""Ranks and rows worked out by hand."""

from dataclasses import replace
from itertools import count
from math import sqrt

import pytest

from tests.oracles.made_evidence import LIMITS, made_drift
from tests.oracles.made_scores import CANDIDATE, made_limit, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import Measurement, Role
from unlearn_guard.reports.standing import Entry, numbers_of, ranked, scores_of, summary

POINTS = (*LIMITS[:2], replace(LIMITS[2], confidence=None))
numbers = count()


def entry(method="a", seed=None, settings=(), limits=POINTS, scores=None, **kept):
    run, _ = made_run(limits=limits, scores=scores or made_scores(**kept))
    return Entry(
        run=run, digest=f"sha256:{next(numbers)}", directory="x", report=None, method=method, seed=seed,
        settings=settings, drift=made_drift(1),
    )  # fmt: skip


def standing(*entries):
    return [(row.rank, row.first.method) for row in ranked(entries)]


def test_more_limits_held_come_first():
    # b: nothing forgotten and all of it back, so two limits broken; c: one; a: none.
    assert standing(
        entry("b", forget_full=90, forget_nf4=95), entry("c", forget_nf4=21), entry("a", forget_nf4=20)
    ) == [(1, "a"), (2, "c"), (3, "b")]


def test_among_equals_the_larger_worst_margin_comes_first_over_all_precisions():
    # Both hold all. The gap at nf4 of a lies on its limit, that of b 5 points below; what a gains elsewhere is nothing.
    found = ranked([entry("a", forget_full=0, forget_nf4=0, retain=58), entry("b", forget_full=20, forget_nf4=15)])
    assert [(row.rank, row.first.method) for row in found] == [(1, "b"), (2, "a")]
    assert found[0].worst.id == "ptq_gap[forget_task-nf4]"
    assert found[0].worst.margin == pytest.approx(0.05)


def test_equals_share_a_rank_and_the_next_is_counted_on():
    assert standing(entry("b"), entry("a"), entry("c", forget_nf4=30)) == [(1, "a"), (1, "b"), (3, "c")]


def test_a_limit_never_measured_is_not_held_and_costs_more_than_a_broken_one():
    unmeasured = entry("u", scores=[each for each in made_scores() if each.precision == "full"])
    broken = entry("b", forget_nf4=90)
    assert [row.first.method for row in ranked([unmeasured, broken])] == ["b", "u"]


def test_part_of_the_items_stands_last():
    part = entry("part", forget_nf4=15)
    part = replace(part, run=replace(part.run, verdict=judge(POINTS, part.run.measurements, candidate=CANDIDATE, complete=False)))  # fmt: skip # noqa: E501
    assert [row.first.method for row in ranked([part, entry("whole", forget_nf4=90)])] == ["whole", "part"]


def test_other_limits_items_suites_and_bases_are_ranked_apart():
    other = entry("b", limits=POINTS[:2], forget_nf4=90)
    suite = entry("c")
    suite = replace(suite, run=replace(suite.run, suite="zzz"))
    assert sorted(standing(entry("a"), other, suite)) == [(1, "a"), (1, "b"), (1, "c")]


def test_seeds_make_one_row_with_mean_and_standard_error():
    entries = [entry("a", seed=seed, forget_full=n, forget_nf4=n) for seed, n in ((2, 30), (0, 10), (1, 20))]
    (row,) = ranked(entries)
    assert [each.seed for each in row.entries] == [0, 1, 2]
    full = row.scores["full"]
    # 0.1, 0.2, 0.3: deviation 0.1, over the root of three.
    assert (full.mean, full.count) == (pytest.approx(0.2), 3)
    assert full.stderr == pytest.approx(0.1 / sqrt(3))
    assert sum(row.octaves) == 3 * 200


def test_one_seed_twice_is_no_second_draw_and_runs_without_seeds_stay_apart():
    assert len(ranked([entry("a", seed=0), entry("a", seed=0)])) == 2
    assert len(ranked([entry("a"), entry("a")])) == 2
    assert len(ranked([entry("a", seed=0), entry("a", seed=1, settings=(("lr", "1"),))])) == 2


def test_a_mean_never_leaves_a_missing_number_out():
    assert summary([0.1, None]) is None
    assert summary([]) is None
    assert summary([0.25]).stderr is None


def test_of_several_tasks_the_one_that_looks_worst_is_shown():
    first, second = made_task(10), made_task(10, "other")
    kept = made_task(10, "kept", Role.RETAIN)
    scores = (
        made_score(first, ones(10, 10), "sha256:base"), made_score(second, ones(10, 10), "sha256:base"),
        made_score(first, ones(2, 10)), made_score(second, ones(4, 10)),
        made_score(first, ones(5, 10), precision="nf4"), made_score(second, ones(4, 10), precision="nf4"),
        made_score(kept, ones(10, 10), "sha256:base"), made_score(kept, ones(7, 10)),
    )  # fmt: skip
    run, _ = made_run(scores=scores, limits=(made_limit("forget_drop", at_least=0.3),))
    assert scores_of(run) == {"full": 0.4, "nf4": 0.5}
    found = numbers_of(run)
    assert found["forget_drop"] == pytest.approx(0.6)
    assert found["gap"] == pytest.approx(0.3)
    assert (found["retain"], found["retain_loss"]) == (0.7, pytest.approx(0.3))
    assert found["cad"] is None
    assert found["ifeval"] is None


def test_cad_is_that_of_the_precision_that_undoes_most():
    run, _ = made_run()
    template = run.measurements[0]
    cad = [
        replace(template, subject=CANDIDATE, task=run.tasks[0].name, metric="cad", precision=precision, value=value)
        for precision, value in (("full", 0.9), ("nf4", 0.1))
    ]
    assert numbers_of(replace(run, measurements=(*run.measurements, *cad)))["cad"] == 0.1
    assert numbers_of(replace(run, measurements=(*run.measurements, cad[0])))["cad"] == 0.9
    # At nf4 alone: the one in full precision is missing, and might be smaller.
    assert numbers_of(replace(run, measurements=(*run.measurements, cad[1])))["cad"] is None


def test_a_number_that_one_task_lacks_is_not_the_other_s():
    run, _ = made_run()
    second = replace(run.tasks[0], name="other")
    assert numbers_of(replace(run, tasks=(*run.tasks, second)))["forget_drop"] is None


def test_ifeval_has_its_own_column_and_is_no_part_of_retain():
    run, _ = made_run()
    task = made_task(5, "ifeval", Role.RETAIN, metric="prompt_level_strict_acc")
    made = Measurement(subject=CANDIDATE, precision="full", task="ifeval", metric=task.metric, value=0.4, samples=5)
    found = numbers_of(replace(run, tasks=(*run.tasks, task), measurements=(*run.measurements, made)))
    assert found["ifeval"] == 0.4
    assert found["retain"] == 57 / 60
