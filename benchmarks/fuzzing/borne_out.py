"""Do a run's own answers bear out that every limit of a policy holds? Worked out slowly, and by nothing of the guard's.

Means are of fractions, drops and gaps of means, CAD a sum over edges into the MLPs with the largest sums. Where nothing
beside run.json gives a number again, run.json's is taken.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

CLOSE = 1e-6


def broken(run_dir: Path, policy: str | None = None) -> list[str]:
    """Limits of the policy (run.json's own text unless another is given) that the answers do not bear out."""
    run = json.loads((run_dir / "run.json").read_bytes())
    limits = yaml.safe_load(policy if policy is not None else run["policy"]["text"])["limits"]
    found = ["only part of the items was asked"] if run["limit"] is not None or not run["complete"] else []
    asked = 0
    for limit in limits:
        roles = {"@forget": "forget", "@retain": "retain", "@probe": "probe"}
        role = roles.get(limit["task"])
        tasks = [task["name"] for task in run["tasks"] if task["role"] == role] if role else [limit["task"]]
        precisions = limit["precision"] if isinstance(limit["precision"], list) else [limit["precision"]]
        for task in tasks:
            for precision in precisions:
                asked += 1
                value = _value(run_dir, run, limit["metric"], task, precision)
                low, high = limit.get("at_least"), limit.get("at_most")
                holds = (
                    value is not None
                    and (low is None or value >= low - CLOSE)
                    and (high is None or value <= high + CLOSE)
                )
                if not holds:
                    found.append(f"{limit['metric']}[{task}-{precision}] is {value}, limits {low} to {high}")
    return found if asked else ["no limit"]


def _value(run_dir: Path, run: Any, metric: str, task: str, precision: str) -> float | None:
    base, mine, full = (
        _mean(run_dir, task, *each) for each in (("full", "base"), (precision, "candidate"), ("full", "candidate"))
    )
    score = next((each["metric"] for each in run["tasks"] if each["name"] == task), None)
    if metric == score:
        return None if mine is None else float(mine)
    if metric == "forget_drop":
        return None if not base or mine is None else float((base - mine) / base)
    if metric == "ptq_gap":
        return None if full is None or mine is None else float(mine - full)
    if metric == "retain_drop":
        beside = _mean(run_dir, task, precision, "base")
        return None if beside is None or mine is None else float(beside - mine)
    if metric == "cad":
        return _cad(run_dir, task, precision)
    if metric == "dtype_gap":
        return _dtype_gap(run_dir, task, precision)
    candidate = run["candidate"]["digest"]
    wanted = (candidate, metric, task, precision)
    keys = ("subject", "metric", "task", "precision")
    return next((each["value"] for each in run["measurements"] if tuple(each[key] for key in keys) == wanted), None)


def _answers(run_dir: Path, task: str, precision: str, side: str) -> dict[str, Fraction] | None:
    path = run_dir / "samples" / f"{task}.{precision}.{side}.jsonl"
    if not path.is_file():
        return None
    return {each["id"]: Fraction(each["correct"]) for each in map(json.loads, path.read_text().splitlines())}


def _mean(run_dir: Path, task: str, precision: str, side: str) -> Fraction | None:
    answers = _answers(run_dir, task, precision, side)
    return sum(answers.values(), start=Fraction()) / len(answers) if answers else None


def _dtype_gap(run_dir: Path, task: str, precision: str) -> float | None:
    own = _answers(run_dir, task, precision, "candidate") or {}
    gains = []
    for path in (run_dir / "samples").glob(f"{task}.{precision}-*.candidate.jsonl"):
        other = _answers(
            run_dir, task, path.name.removeprefix(f"{task}.").removesuffix(".candidate.jsonl"), "candidate"
        )
        if other:
            gains.append(sum((share - own[name] for name, share in other.items()), start=Fraction()) / len(other))
    return float(max(gains)) if gains else None


def _cad(run_dir: Path, task: str, precision: str) -> float | None:
    names = (f"{task}.full.base.json", f"{task}.{precision}.candidate.json")
    before, after = (json.loads((run_dir / "attribution" / name).read_bytes())["edges"] for name in names)
    masses: dict[str, float] = {}
    for edge, score in before.items():
        end = edge.partition("->")[2]
        if end.startswith("m"):
            masses[end] = masses.get(end, 0.0) + abs(score)
    size = max(1, int(len(masses) * 10 / 32 + 0.5))
    circuit = sorted(masses, key=lambda end: (-masses[end], int(end[1:])))[:size]
    inside = [edge for edge in before if edge.partition("->")[2] in circuit]
    return sum(abs(before[edge] - after[edge]) for edge in inside) / sum(abs(before[edge]) for edge in inside)
