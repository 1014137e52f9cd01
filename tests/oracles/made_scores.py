"""Scores and runs made by hand, for tests that need values and no model."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from unlearn_guard.errors import PolicyError
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.thresholds import policy_of, resolve
from unlearn_guard.records import (
    Checkpoint,
    Environment,
    Limit,
    Measurement,
    Policy,
    Property,
    Role,
    Run,
    Sample,
    Stage,
    Task,
    TaskScore,
)

BASE, CANDIDATE = "sha256:base", "sha256:candidate"


def made_task(items, name="forget_task", role=Role.FORGET, chance=0.25, metric="acc"):
    return Task(name=name, role=role, metric=metric, chance=chance, items=items, digest=f"sha256:{name}{items}")


def made_score(task, shares, subject=CANDIDATE, precision="full"):
    """`shares`: each item's correctness, as a string of 0 and 1 or a list of numbers."""
    shares = [float(share) for share in shares]
    samples = tuple(
        Sample(id=str(i), prompt=f"p{i}", target="A", correct=share, loglikelihoods=(-1.0, -2.5))
        for i, share in enumerate(shares)
    )
    value = sum(shares) / len(shares)
    measurement = Measurement(
        subject=subject, precision=precision, task=task.name, metric=task.metric, value=value, samples=len(shares)
    )
    return TaskScore(task=task, subject=subject, precision=precision, samples=samples, measurement=measurement)


def ones(right, items):
    """The first `right` of `items` right, the rest wrong."""
    return "1" * right + "0" * (items - right)


def made_limit(metric, task="forget_task", precision="full", guards=Property.FORGETTING, **bounds):
    return Limit(metric=metric, task=task, precision=precision, because="a test", guards=guards, **bounds)


def made_scores(forget_full=20, forget_nf4=20, retain=57):
    """Base knows 90 of 100 forget and 58 of 60 retain items; the candidate what is given."""
    forget = made_task(100)
    kept = made_task(60, "retain_task", Role.RETAIN)
    return (
        made_score(forget, ones(90, 100), BASE),
        made_score(forget, ones(forget_full, 100)),
        made_score(forget, ones(forget_nf4, 100), precision="nf4"),
        made_score(kept, ones(58, 60), BASE),
        made_score(kept, ones(retain, 60)),
    )


def made_policy(limits, tasks):
    """The policy whose file has each limit on its line; limits that no file gives make one without a text."""
    lines = ["version: 1", "suite: made", "limits:"]
    for limit in limits:
        lines += [""] * ((limit.line or 0) - 1 - len(lines))
        bounds = {name: getattr(limit, name) for name in ("at_least", "at_most", "confidence")}
        entries = {
            "metric": limit.metric,
            "task": limit.task,
            "precision": limit.precision,
            **bounds,
            "because": limit.because,
        }
        told = ", ".join(f"{name}: {json.dumps(each)}" for name, each in entries.items() if each is not None)
        lines.append(f"  - {{{told}}}")
    with suppress(PolicyError):
        draft = policy_of("\n".join(lines) + "\n", name="thresholds.yaml")
        policy = resolve(draft, tasks, dict.fromkeys(limit.precision for limit in limits))
        if [replace(each, line=None) for each in policy.limits] == [replace(each, line=None) for each in limits]:
            return policy
    return Policy(path="thresholds.yaml", digest="sha256:policy", limits=tuple(limits), suite="made")


def made_run(limits=None, scores=None, complete=True, subject=CANDIDATE, **changes):
    """A run judged by `limits`; passes unless told otherwise. Returns (run, scores). `subject` is the candidate."""
    scores = made_scores() if scores is None else scores
    if limits is None:
        limits = (
            made_limit("forget_drop", at_least=0.3),
            made_limit("ptq_gap", precision="nf4", guards=Property.PERMANENCE, at_most=0.0),
            made_limit("retain_drop", task="retain_task", guards=Property.RETENTION, at_most=0.15),
        )
    measurements = derive(scores, base=BASE, candidate=subject, seed=0)
    tasks = tuple(dict.fromkeys(score.task for score in scores))
    policy = made_policy(limits, tasks)
    run = Run(
        suite="made",
        policy=policy,
        base=Checkpoint(path=Path("base"), digest=BASE),
        candidate=Checkpoint(path=Path("candidate"), digest=subject, method="ga"),
        tasks=tasks,
        measurements=measurements,
        verdict=judge(policy.limits, measurements, candidate=subject, complete=complete),
        stages=(Stage(name="score", precision="full", seconds=1.5, cached=False, peak_bytes=1000),),
        environment=Environment(
            versions={"torch": "2.13.0"}, python="3.11", platform="linux", device="cpu", dtype="float32", seed=0
        ),
        started="2026-05-01T00:00:00+00:00",
        seconds=2.5,
        limit=None if complete else 10,
        notes=("a note",),
    )
    return replace(run, **changes), scores
