"""What a run's answers say is derived from them again: intervals, probes, which choice was the likeliest."""

import json
from dataclasses import replace

from readers import measured, refused_by_all

from tests.oracles.made_directory import forged
from tests.oracles.made_scores import (
    BASE,
    CANDIDATE,
    made_limit,
    made_policy,
    made_run,
    made_score,
    made_scores,
    made_task,
    ones,
)
from unlearn_guard.command_line.app import run as command
from unlearn_guard.judging.again import score_of
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import FORGET_QUALITY, PRIVLEAK, Role, Sample, Task
from unlearn_guard.reopening.run import read_run
from unlearn_guard.runs.directory import write_run


def shares(right, items):
    """Shares as ROUGE gives them."""
    return [0.8 if index < right else 0.1 for index in range(items)]


def test_intervals_of_fractions_are_drawn_where_a_limit_reads_them(tmp_path, capsys):
    """They take long: no limit of the run's policy reads any, so they are named; another policy's limit reads one."""
    task = made_task(50, chance=0.0)
    scores = (made_score(task, shares(40, 50), BASE), made_score(task, shares(5, 50)))
    run, _ = made_run(limits=(made_limit("forget_drop", at_least=0.3),), scores=scores)
    write_run(run, scores, tmp_path / "run")
    assert "forget_drop[forget_task-full]" in read_run(tmp_path / "run").notes[-1]
    forged(tmp_path / "run", lambda c: [each.update(low=0.79) for each in measured(c, "forget_drop")["intervals"]])
    assert read_run(tmp_path / "run").verdict.passed
    strict = made_policy((made_limit("forget_drop", at_least=0.3, confidence=0.95),), run.tasks)
    (tmp_path / "strict.yaml").write_text(strict.text)
    assert command(["judge", str(tmp_path / "run"), "--thresholds", str(tmp_path / "strict.yaml")]) == 4
    assert ".intervals (forget_drop[forget_task-full])" in capsys.readouterr().err


def probe(measure, subject, low):
    """Answers to a probe: 20 forgotten texts around `low`, 20 never seen around 1."""
    leaves = [("forgotten", low), ("probe_holdout", 1.0)]
    items = tuple(
        Sample(id=f"{leaf}-{index}", prompt=f"{leaf}{index}", target="", correct=at + index / 37)
        for leaf, at in leaves
        for index in range(20)
    )
    task = Task(
        name=measure, role=Role.PROBE, metric="nll", chance=0.0, items=40, digest=f"sha256:{measure}", measure=measure
    )
    return score_of(task, subject, "full", items)


def test_what_probes_say_is_derived_anew_too(tmp_path, capsys):
    """`privleak` and `forget_quality` against a retrained model; intervals of probes where a limit reads them."""
    subjects = ((BASE, 0.1), (CANDIDATE, 0.8), ("sha256:retrained", 0.9))
    probes = [probe(each, *of) for each in (PRIVLEAK, FORGET_QUALITY) for of in subjects]
    scores = [*made_scores(), *probes]
    limit = made_limit(PRIVLEAK, task=PRIVLEAK, at_most=1000.0, at_least=-100.0, confidence=0.95)
    run, _ = made_run(limits=(limit,), scores=scores[:5])
    found = derive(scores, base=BASE, candidate=CANDIDATE, seed=0, retrained="sha256:retrained")
    tasks = tuple(dict.fromkeys(score.task for score in scores))
    policy = made_policy((limit,), tasks)
    run = replace(
        run,
        tasks=tasks,
        measurements=found,
        policy=policy,
        verdict=judge(policy.limits, found, candidate=CANDIDATE, complete=True),
        retrained=replace(run.base, digest="sha256:retrained"),
    )
    write_run(run, scores, tmp_path / "run")
    assert read_run(tmp_path / "run").verdict.passed
    for metric, task in (
        (PRIVLEAK, PRIVLEAK),
        (FORGET_QUALITY, FORGET_QUALITY),
        ("forget_truth_ratio", FORGET_QUALITY),
    ):
        held = (tmp_path / "run" / "run.json").read_bytes()
        forged(tmp_path / "run", lambda c, of=(metric, task): measured(c, *of).update(value=0.5))
        assert command(["judge", str(tmp_path / "run")]) == 4
        assert f".value ({metric}[" in capsys.readouterr().err
        (tmp_path / "run" / "run.json").write_bytes(held)
    forged(tmp_path / "run", lambda c: measured(c, PRIVLEAK, PRIVLEAK)["intervals"][1].update(high=900.0))
    assert command(["judge", str(tmp_path / "run")]) == 4
    assert ".intervals (privleak[" in capsys.readouterr().err


def test_an_answer_counted_otherwise_than_its_likelihoods_say_is_refused(tmp_path, capsys):
    """Where the likeliest choice is the answer, `correct` is derived, not believed: here one item, lists and all."""
    task = replace(made_task(40), likeliest=True)
    kept = replace(made_task(40, "retain_task", Role.RETAIN), likeliest=True)

    def answers(score):
        made = (
            replace(each, target="1", loglikelihoods=(-2.0, -1.0) if each.correct else (-1.0, -2.0))
            for each in score.samples
        )
        return replace(score, samples=tuple(made))

    scores = [
        answers(made_score(task, ones(36, 40), BASE)),
        answers(made_score(task, ones(4, 40))),
        answers(made_score(kept, ones(38, 40), BASE)),
        answers(made_score(kept, ones(38, 40))),
    ]
    limits = (made_limit("forget_drop", at_least=0.3),)
    run, _ = made_run(limits=limits, scores=scores)
    write_run(run, scores, tmp_path)
    assert read_run(tmp_path).verdict.passed
    path = tmp_path / "samples" / "forget_task.full.candidate.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[7]["correct"] = 1.0
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    forged(tmp_path, lambda _: None)
    refused_by_all(tmp_path, "item 7 is counted 1, its likelihoods say otherwise", capsys=capsys)
