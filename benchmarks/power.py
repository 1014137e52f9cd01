"""Does a policy do what `plan --power` says? Candidates whose true values are known, drawn 1,000 times.

    python -m benchmarks.power --policy release --runs 1000

Each run draws the answers of base, candidate and its 4-bit models to as many items as `plan --power` asks for, takes
the intervals that `check` takes, and judges by the policy's limits on what was drawn. An honest candidate (at chance,
true gap 0) is to pass in 90 % of runs, one whose true gap is twice the margin in 5 % at most.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unlearn_guard.judging import statistics
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.power import Assumed, needs
from unlearn_guard.judging.thresholds import read_policy, resolve
from unlearn_guard.records import FULL, Limit, Measurement, Role, Task

Floats = NDArray[np.float64]
CHANCE = 0.25
PRECISIONS = (FULL, "nf4", "gptq", "awq")
TASKS = tuple(
    Task(name=name, role=role, metric="acc", chance=CHANCE, items=1, digest=name)
    for name, role in (("lettered", Role.FORGET), ("stated", Role.FORGET), ("kept", Role.RETAIN))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Its true gap at every quantized precision, and the share of answers that differ there."""

    gap: float
    discordance: float


def limits_of(policy: str) -> tuple[Limit, ...]:
    """The limits of a policy on what is drawn."""
    found = resolve(read_policy(policy), TASKS, PRECISIONS).limits
    return tuple(each for each in found if each.metric in _STATISTICS)


def items_of(limits: Sequence[Limit], assumed: Assumed) -> dict[str, int]:
    """By task what `plan --power` asks for."""
    found = needs(limits, {task.name: task for task in TASKS}, assumed)
    asked: dict[str, int] = {}
    for each in found:
        asked[each.limit.task] = max(asked.get(each.limit.task, 1), each.together or 1)
    return asked


def passes(seed: int, limits: Sequence[Limit], items: Mapping[str, int], candidate: Candidate) -> bool:
    """One run: whether every limit held."""
    rng = np.random.default_rng(seed)
    drawn = {task.name: _drawn(rng, task, items[task.name], candidate) for task in TASKS if task.name in items}
    measured = [_measured(limit, drawn[limit.task], seed) for limit in limits]
    return judge(limits, measured, candidate="c", complete=True).passed


def _drawn(rng: np.random.Generator, task: Task, items: int, candidate: Candidate) -> dict[str, Floats]:
    """The answers of `base`, which knows everything, and of the candidate by precision."""
    base_N = np.ones(items)
    if task.role is Role.RETAIN:
        same_N = _moved(rng, base_N, -candidate.discordance / 2, candidate.discordance / 2)
        return {"base": base_N, **dict.fromkeys(PRECISIONS, same_N)}
    full_N = (rng.random(items) < CHANCE).astype(np.float64)
    quantized = {each: _moved(rng, full_N, candidate.gap, candidate.discordance) for each in PRECISIONS[1:]}
    return {"base": base_N, FULL: full_N, **quantized}


def _moved(rng: np.random.Generator, before_N: Floats, gap: float, discordance: float) -> Floats:
    """Answers of which a share differs: won less lost is the gap, in expectation, whatever was right before."""
    share = max(discordance, abs(gap))
    right = before_N.mean()
    won = (share + gap) / 2 / (1.0 - right) if right < 1.0 else 0.0
    lost = (share - gap) / 2 / right if right > 0.0 else 0.0
    flips_N = rng.random(len(before_N)) < np.where(before_N > 0, lost, won)
    return np.where(flips_N, 1.0 - before_N, before_N)


def _measured(limit: Limit, drawn: Mapping[str, Floats], seed: int) -> Measurement:
    before = FULL if limit.metric == "ptq_gap" else "base"
    answers_N2 = np.stack([drawn[before], drawn[limit.precision]], axis=-1)
    statistic = _STATISTICS[limit.metric]
    return Measurement(
        subject="c",
        precision=limit.precision,
        task=limit.task,
        metric=limit.metric,
        value=float(statistic(answers_N2.mean(axis=0))),
        samples=len(answers_N2),
        stderr=statistics.stderr(answers_N2, statistic),
        intervals=statistics.intervals(answers_N2, statistic, seed=seed, name=limit.id),
    )


def _gained(means: Floats) -> Floats:
    return means[..., 1] - means[..., 0]


def _lost(means: Floats) -> Floats:
    return means[..., 0] - means[..., 1]


def _dropped(means: Floats) -> Floats:
    return (means[..., 0] - means[..., 1]) / means[..., 0]


def _removed(means: Floats) -> Floats:
    return (means[..., 0] - means[..., 1]) / (means[..., 0] - CHANCE)


_STATISTICS: Mapping[str, statistics.Statistic] = {
    "ptq_gap": _gained,
    "retain_drop": _lost,
    "forget_drop": _dropped,
    "above_chance_removed": _removed,
}
"""What answers to a task give; a limit on anything else is left out of the simulation."""


def share_that_passes(
    limits: Sequence[Limit], items: Mapping[str, int], candidate: Candidate, seeds: range, jobs: int = 1
) -> float:
    """Of runs with these seeds."""
    one = partial(passes, limits=limits, items=items, candidate=candidate)
    if jobs == 1:
        return sum(map(one, seeds)) / len(seeds)
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        return sum(pool.map(one, seeds, chunksize=10)) / len(seeds)


def main() -> None:
    """Print, for the discordance that is assumed, how often each candidate passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="release")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--discordance", type=float, default=Assumed().discordance)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    limits = limits_of(asked.policy)
    items = items_of(limits, Assumed(discordance=asked.discordance))
    margins = [each.at_most for each in limits if each.metric == "ptq_gap" and each.at_most]
    print(f"policy {asked.policy}, {len(limits)} limits; items: {items}")
    for name, gap in (("honest, gap 0", 0.0), ("gap of twice the margin", 2 * min(margins))):
        candidate = Candidate(gap=gap, discordance=asked.discordance)
        share = share_that_passes(limits, items, candidate, range(asked.runs), asked.jobs)
        print(f"{name}: passes in {share:.1%} of {asked.runs} runs")


if __name__ == "__main__":
    main()
