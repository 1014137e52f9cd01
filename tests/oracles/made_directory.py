"""Run directories made by hand, and what a forger does to one."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np

from tests.oracles.made_evidence import LIMITS, made_drift
from tests.oracles.made_scores import BASE, CANDIDATE, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.attribution import cad
from unlearn_guard.attribution.circuit import mlp_circuit
from unlearn_guard.attribution.scores import ItemScores, write_scores
from unlearn_guard.judging.derive import dtype_gap
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import Measurement
from unlearn_guard.runs.directory import write_run
from unlearn_guard.runs.drift_file import write_drift

EDGES = ("input->m0", "m0->m1", "m1->m2", "m2->m3")


def edge_scores(*rows):
    return ItemScores(
        edges=EDGES,
        scores_NE=np.array(rows, dtype=np.float32),
        clean_N=np.ones(len(rows)),
        corrupted_N=np.zeros(len(rows)),
        steps=5,
    )


def of_candidate(metric, value, task="forget_task", precision="full", samples=2, **more):
    return Measurement(
        subject=CANDIDATE, metric=metric, task=task, precision=precision, value=value, samples=samples, **more
    )


def made_directory(out, forget_nf4=85):
    """A run with all that can lie beside it: answers in another dtype, edge scores, weight counts.

    Where 85 of 100 come back at NF4 it failed; with 20 it passes.
    """
    scores = made_scores(forget_nf4=forget_nf4)
    (out / "attribution").mkdir(parents=True)
    (out / ".unlearn-guard").touch()
    sides = {
        "base": edge_scores([1, 0.5, 2, 0.1], [1, 1, 2, 0.1]),
        "candidate": edge_scores([0, 0.5, 1, 0], [0, 1, 1, 0]),
    }
    for side, digest in (("base", BASE), ("candidate", CANDIDATE)):
        path = out / "attribution" / f"forget_task.full.{side}.json"
        write_scores(path, sides[side], subject=digest, task="forget_task")
    circuit = mlp_circuit(sides["base"].edge_scores(subject=BASE, task="forget_task"))
    measured = cad.measure(
        sides["base"], sides["candidate"], circuit, subject=CANDIDATE, precision="full", task="forget_task"
    )
    write_drift(out / "weights", made_drift(), base=BASE, candidate=CANDIDATE)
    flipped, weights, survived = 2 * (0 + 10 + 20 + 30), 8000, 2 * (0 + 10 + 20 + 30)
    elsewhere = made_score(made_task(40), ones(12, 40), precision="full-bfloat16")
    run, _ = made_run(limits=LIMITS, scores=scores)
    measurements = (
        *run.measurements,
        *measured,
        dtype_gap(scores[1], [elsewhere], seed=0),
        of_candidate("code_flip_rate", flipped / weights, task="weights", precision="nf4", samples=weights),
        of_candidate("floor_survival", survived / 800, task="weights", precision="nf4", samples=800),
        of_candidate("update_to_bin", 0.4, task="weights", precision="nf4", samples=800),
        of_candidate("quantized_share", 0.75, task="weights", precision="nf4", samples=8000),
        of_candidate("activation_shift_c", 0.5),
    )
    run = replace(
        run,
        measurements=measurements,
        verdict=judge(run.policy.limits, measurements, candidate=CANDIDATE, complete=True),
    )
    write_run(run, [*scores, elsewhere], out)
    return out


def forged(out, change):
    """Bend run.json, then make everything that is only written for readers agree, as a forger would."""
    path = out / "run.json"
    content = json.loads(path.read_text())
    change(content)
    measured = {
        (m["metric"], m["task"], m["precision"]): m for m in content["measurements"] if m["subject"] == CANDIDATE
    }
    for check in content["checks"]:
        made = measured.get((check["metric"], check["task"], check["precision"]))
        low, high = check["at_least"], check["at_most"]
        level = check["confidence"] or 0.95
        interval = next((i for i in made["intervals"] if i["confidence"] == level), None) if made else None
        check.update(value=made and made["value"], stderr=made and made["stderr"], samples=made and made["samples"])
        check["interval"] = [interval["low"], interval["high"]] if interval else None
        slack = [made["value"] - low] if made and low is not None else []
        slack += [high - made["value"]] if made and high is not None else []
        check["margin"] = min(slack) if made else None
        ends = (
            ([interval["low"], interval["high"]] if interval else [])
            if check["confidence"]
            else made and [made["value"]]
        )
        inside = [(low is None or low <= e) and (high is None or e <= high) for e in ends or ()]
        outside = inside and not any(inside)
        check["outcome"] = (
            "unmeasured" if not made
            else "passed" if inside and all(inside)
            else "failed" if outside
            else "inconclusive"
        )  # fmt: skip
    outcomes = {check["outcome"] for check in content["checks"]}
    content["verdict"] = "failed" if "failed" in outcomes else "passed" if outcomes == {"passed"} else "incomplete"
    for name in content["files"]:
        data = (out / name).read_bytes() if (out / name).exists() else b""
        content["files"][name] = {"sha256": f"sha256:{sha256(data).hexdigest()}", "lines": data.count(b"\n")}
    path.write_text(json.dumps(content))
