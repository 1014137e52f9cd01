"""Runs with all that lies beside them, made by hand: passed, failed, incomplete, and a hostile one."""

from dataclasses import replace
from pathlib import Path

from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_run, made_scores
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import LayerDrift, Property, Task
from unlearn_guard.reports.evidence import Evidence, Flips, Item, Masses

LIMITS = (
    made_limit("forget_drop", at_least=0.3, line=7),
    made_limit("ptq_gap", precision="nf4", guards=Property.PERMANENCE, at_most=0.0, line=11),
    made_limit("retain_drop", task="retain_task", guards=Property.RETENTION, at_most=0.15, confidence=0.95, line=15),
)
OCTAVES = (0, 0, 0, 0, 0, 0, 0, 0, 10, 20, 30, 40, 0, 0, 0, 0, 0)


def made_drift(layers=4):
    return tuple(
        LayerDrift(
            layer=f"model.layers.{index}.mlp.{kind}",
            weights=1000,
            changed=100,
            flipped=10 * index,
            survived=min(10 * index, 100),
            ratios=OCTAVES,
        )
        for index in range(layers)
        for kind in ("up_proj", "down_proj")
    )


def made_evidence(run, **changes):
    flips = Flips(
        task="forget_task",
        precision="nf4",
        back=tuple(
            Item(prompt=f"{index:064x}", id=str(index), target="SECRET", answer="ANSWER") for index in range(50)
        ),
        lost=(),
        right=20,
        wrong=30,
    )
    sides = (("base", "full"), ("candidate", "full"), ("candidate", "nf4"))
    masses = tuple(
        Masses(task="forget_task", precision=precision, side=side, by_layer=((0, 2.0), (1, 0.5 + index)))
        for index, (side, precision) in enumerate(sides)
    )
    found = Evidence(
        run=run, digest="sha256:" + "ab" * 32, directory="runs/x", flips=(flips,), masses=masses, drift=made_drift()
    )
    return replace(found, **changes)


def shown(**made):
    """A run to be shown: the digest of its policy is no number that moves with the policy's text."""
    run, _ = made_run(limits=LIMITS, **made)
    return replace(run, policy=replace(run.policy, digest="sha256:policy"))


VERDICTS = {
    "passed": lambda: shown(scores=made_scores(retain=58)),
    "failed": lambda: shown(scores=made_scores(forget_nf4=85, retain=52)),
    "incomplete": lambda: shown(scores=made_scores()[:2]),
}

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`|*_~[a](javascript:x) www.evil.org https://evil.org "
    "@everyone #1 $x$ \x1b[31m\n::error file=x::pwned\r\n%0A::set-output\u202e</style></title>-->{{7*7}}"
)


def hostile_run():
    """Every text that a checkpoint, a suite or a policy can set, set to something that wants out."""
    run, _ = made_run(scores=made_scores(forget_nf4=85))
    huge = EVIL + "x" * 10_000
    limits = tuple(
        replace(limit, task=f"{huge}{index}", because=EVIL, precision=EVIL) for index, limit in enumerate(LIMITS)
    )
    tasks = tuple(replace(task, name=f"{EVIL}{index}", metric=EVIL) for index, task in enumerate(run.tasks))
    measurements = tuple(
        replace(each, task=tasks[0].name, precision=EVIL, metric=EVIL) for each in run.measurements[:1]
    )
    return replace(
        run,
        suite=huge,
        tasks=tasks,
        measurements=measurements,
        policy=replace(run.policy, path=f"{EVIL}.yaml", limits=limits),
        verdict=judge(limits, measurements, candidate=CANDIDATE, complete=True),
        candidate=replace(run.candidate, path=Path(EVIL), method=huge),
        base=replace(run.base, path=Path(huge)),
        notes=(huge,),
        environment=replace(run.environment, versions={EVIL: EVIL}, device=EVIL, platform=EVIL),
        stages=tuple(replace(stage, name=EVIL, precision=EVIL) for stage in run.stages),
        started=EVIL,
    )


def hostile_evidence():
    run = hostile_run()
    item = Item(prompt=EVIL, id=EVIL, target=EVIL, answer=EVIL)
    return made_evidence(
        run,
        directory=EVIL,
        flips=(Flips(task=EVIL, precision=EVIL, back=(item,), lost=(item,), right=1, wrong=1),),
        masses=(Masses(task=EVIL, precision=EVIL, side=EVIL, by_layer=((0, 1.0),)),),
        drift=tuple(replace(layer, layer=f"{EVIL}.{index}.x") for index, layer in enumerate(made_drift())),
    )


def wide_evidence(suites=20, precisions=("full", "nf4", "gptq", "awq", "fp8", "int8")):
    """A run over many suites: a forget and a retain task each, every limit at every precision."""
    run, _ = made_run()
    tasks, measurements, limits, flips = [], [], [], []
    for suite in range(suites):
        for task in run.tasks:
            tasks.append(replace(task, name=f"suite{suite}_{task.name}"))
    for task in tasks:
        forget = task.role == "forget"
        source = {each.metric: each for each in run.measurements if (each.task == "forget_task") == forget}
        for precision in precisions:
            metrics = ["forget_drop", "ptq_gap", "recovery"] if forget else ["retain_drop"]
            for metric in ["acc", *metrics]:
                made = replace(source[metric], task=task.name, precision=precision, subject=CANDIDATE)
                measurements.append(made)
                if metric in ("forget_drop", "ptq_gap", "retain_drop"):
                    limits.append(
                        made_limit(metric, task=task.name, precision=precision, at_least=0.5, line=len(limits))
                    )
            measurements.append(replace(source["acc"], task=task.name, precision=precision, subject=BASE))
            flips.append(_flips(task, precision))
    verdict = judge(limits, measurements, candidate=CANDIDATE, complete=True)
    changed = replace(
        run, tasks=tuple(tasks), measurements=tuple(measurements), verdict=verdict,
        policy=replace(run.policy, limits=tuple(limits)),
    )  # fmt: skip
    masses = tuple(
        Masses(task=task.name, precision=precision, side=side, by_layer=tuple((i, 1.0 + i) for i in range(32)))
        for task in tasks
        for side, precision in (("base", "full"), ("candidate", "full"), ("candidate", "nf4"))
        if task.role == "forget"
    )
    return made_evidence(changed, flips=tuple(flips), masses=masses, drift=made_drift(32))


def _flips(task: Task, precision: str):
    items = tuple(Item(prompt=f"{index:064x}") for index in range(200))
    return Flips(task=task.name, precision=precision, back=items, lost=items, right=100, wrong=100)
