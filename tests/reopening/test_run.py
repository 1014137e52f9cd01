"""A run.json that was bent after it was written, through every command that reads one."""

from hashlib import sha256

import pytest
from readers import measured, refused_by_all

from tests.oracles.made_directory import forged
from tests.oracles.made_scores import BASE


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
