"""Runs that were bent after they were written, through every command that reads one; each lists its files by digest."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from readers import refused_by_all

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

ROOT = Path(__file__).parents[2]


def measured(content, metric, task="forget_task", precision="full", subject=CANDIDATE):
    (found,) = (
        each
        for each in content["measurements"]
        if (each["metric"], each["task"], each["precision"], each["subject"]) == (metric, task, precision, subject)
    )
    return found


def own_digest(content):
    content["policy"]["digest"] = f"sha256:{sha256(content['policy']['text'].encode()).hexdigest()}"


BENDS = {
    "a limit loosened": (lambda c: c["checks"][1].update(at_most=1.0), "run.json: checks.1.at_most"),
    "a limit's confidence taken": (lambda c: c["checks"][2].update(confidence=None), "run.json: checks.2.confidence"),
    "a failed limit deleted": (lambda c: c["checks"].pop(1), "no ptq_gap[forget_task-nf4]"),
    "a limit moved to another precision": (
        lambda c: c["checks"][1].update(precision="gptq", id="ptq_gap[forget_task-gptq]"),
        "run.json: checks.1",
    ),
    "a limit's reason": (lambda c: c["checks"][0].update(because="the paper"), "run.json: checks.0.because"),
    "a limit's line": (lambda c: c["checks"][0].update(line=1), "run.json: checks.0.line"),
    "a limit's property": (lambda c: c["checks"][0].update(property="reported"), "run.json: checks.0.property"),
    "a limit added": (
        lambda c: c["checks"].append({**c["checks"][0], "precision": "nf4", "id": "forget_drop[forget_task-nf4]"}),
        "run.json: checks.3",
    ),
    "the limits in another order": (lambda c: c["checks"].reverse(), "another order"),
    "the text loosened, the digest kept": (
        lambda c: c["policy"].update(text=c["policy"]["text"].replace("at_most: 0.0", "at_most: 1.0")),
        "run.json: policy.digest",
    ),
    "text and digest changed, the limits kept": (
        lambda c: (
            c["policy"].update(text=c["policy"]["text"].replace("at_most: 0.0", "at_most: 1.0")),
            own_digest(c),
        ),
        "run.json: checks.1.at_most",
    ),
    "the text taken out": (lambda c: c["policy"].pop("text"), "run.json: policy.text"),
    "a text that is no policy": (
        lambda c: (c["policy"].update(text="limits: []"), own_digest(c)),
        "run.json: policy.text",
    ),
    "a text beyond Unicode": (lambda c: c["policy"].update(text="\ud800"), "Invalid JSON"),
    "the policy's suite": (lambda c: c["policy"].update(suite="other"), "run.json: policy.suite"),
    "the policy's precisions": (lambda c: c["policy"].update(precisions=["full"]), "run.json: policy.precisions"),
    "a task's role": (lambda c: c["tasks"][0].update(role="retain"), "run.json: policy.text"),
    "a gap's value": (lambda c: measured(c, "ptq_gap", precision="nf4").update(value=0.0), ".value (ptq_gap["),
    "a value by one digit": (
        lambda c: measured(c, "ptq_gap", precision="nf4").update(value=0.6500000000000001),
        ".value (ptq_gap[",
    ),
    "a score's value": (lambda c: measured(c, "acc", precision="nf4").update(value=0.2), ".value (acc["),
    "base's score": (lambda c: measured(c, "acc", subject=BASE).update(value=0.95), ".value (acc["),
    "an interval that a limit reads": (
        lambda c: measured(c, "retain_drop", "retain_task")["intervals"][1].update(high=0.02),
        ".intervals (retain_drop[",
    ),
    "an interval that no limit reads": (
        lambda c: measured(c, "forget_drop")["intervals"][0].update(low=0.77),
        ".intervals (forget_drop[",
    ),
    "intervals taken out": (lambda c: measured(c, "forget_drop").update(intervals=[]), ".intervals (forget_drop["),
    "a standard error": (lambda c: measured(c, "forget_drop").update(stderr=0.001), ".stderr (forget_drop["),
    "a p-value": (lambda c: measured(c, "ptq_gap", precision="nf4").update(p_value=0.9), ".p_value (ptq_gap["),
    "a count": (lambda c: measured(c, "forget_drop").update(samples=1000), ".samples (forget_drop["),
    "a measurement taken out": (
        lambda c: c["measurements"].remove(measured(c, "ptq_gap", precision="nf4")),
        "no ptq_gap[forget_task-nf4]",
    ),
    "a measurement put in": (
        lambda c: c["measurements"].append({**measured(c, "forget_drop"), "precision": "gptq"}),
        "forget_drop[forget_task-gptq]",
    ),
    "a metric that nothing gives": (
        lambda c: c["measurements"].append({**measured(c, "forget_drop"), "metric": "mine"}),
        "mine[forget_task-full]",
    ),
    "the gap to another dtype": (lambda c: measured(c, "dtype_gap").update(value=0.0), ".value (dtype_gap["),
    "the gap to another dtype taken out": (
        lambda c: c["measurements"].remove(measured(c, "dtype_gap")),
        "no dtype_gap[forget_task-full]",
    ),
    "the gap's answers taken off the list": (
        lambda c: c["files"].pop("samples/forget_task.full-bfloat16.candidate.jsonl"),
        "dtype_gap[forget_task-full]",
    ),
    "answers taken off the list": (
        lambda c: c["files"].pop("samples/forget_task.nf4.candidate.jsonl"),
        "[forget_task-nf4]",
    ),
    "cad": (lambda c: measured(c, "cad").update(value=0.9), ".value (cad["),
    "as_nc": (lambda c: measured(c, "as_nc").update(value=0.0), ".value (as_nc["),
    "edge scores taken off the list": (
        lambda c: c["files"].pop("attribution/forget_task.full.candidate.json"),
        "cad[forget_task-full]",
    ),
    "a share of flipped codes": (
        lambda c: measured(c, "code_flip_rate", "weights", "nf4").update(value=0.5),
        ".value (code_flip_rate[",
    ),
    "a share of surviving weights": (
        lambda c: measured(c, "floor_survival", "weights", "nf4").update(value=0.5),
        ".value (floor_survival[",
    ),
    "the width of an update": (
        lambda c: measured(c, "update_to_bin", "weights", "nf4").update(value=2.0),
        "update_to_bin",
    ),
    "the seed": (lambda c: c["environment"].update(seed=1), ".intervals ("),
}


@pytest.mark.parametrize("bend", BENDS)
def test_a_bent_run_is_refused_by_file_and_field(bend, run_dir, capsys):
    change, said = BENDS[bend]
    forged(run_dir, change)
    refused_by_all(run_dir, "run.json", said, capsys=capsys)


def lines(out, name, change):
    path = out / name
    found = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(each) + "\n" for each in change(found)))


NF4 = "samples/forget_task.nf4.candidate.jsonl"
FILES = {
    "answers": lambda out: lines(out, NF4, lambda found: [{**each, "correct": 0.0} for each in found]),
    "fewer answers": lambda out: lines(out, NF4, lambda found: found[20:]),
    "other questions": lambda out: lines(out, NF4, lambda found: [{**each, "prompt": "x"} for each in found]),
    "the same answer twice": lambda out: lines(out, NF4, lambda found: [found[0], *found[:-1]]),
    "shares above one": lambda out: lines(out, NF4, lambda found: [{**each, "correct": 2.0} for each in found]),
    "answers in another dtype": lambda out: lines(
        out, "samples/forget_task.full-bfloat16.candidate.jsonl", lambda found: [{**e, "correct": 0.0} for e in found]
    ),
    "no answers in another dtype": lambda out: (out / "samples/forget_task.full-bfloat16.candidate.jsonl").write_text(
        ""
    ),
}


@pytest.mark.parametrize("bend", FILES)
def test_bent_answers_contradict_the_measurements(bend, run_dir, capsys):
    FILES[bend](run_dir)
    forged(run_dir, lambda _: None)
    refused_by_all(run_dir, "forget_task", capsys=capsys)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("attribution/forget_task.full.base.json", '"subject": "sha256:base"', '"subject": "sha256:other"'),
        ("attribution/forget_task.full.candidate.json", '"m0->m1": 0.75', '"m0->m1": 0.7'),
        ("weights/nf4.json", '"base": "sha256:base"', '"base": "sha256:other"'),
    ],
)
def test_bent_edge_scores_and_counts_are_refused(name, old, new, run_dir, capsys):
    path = run_dir / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    forged(run_dir, lambda _: None)
    refused_by_all(run_dir, capsys=capsys)


def test_a_file_of_nobody_s_answers_is_refused(run_dir, capsys):
    (run_dir / "samples" / "other.nf4.candidate.jsonl").write_bytes((run_dir / NF4).read_bytes())
    forged(run_dir, lambda c: c["files"].update({"samples/other.nf4.candidate.jsonl": {}}))
    refused_by_all(run_dir, "samples/other.nf4.candidate.jsonl", capsys=capsys)


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
