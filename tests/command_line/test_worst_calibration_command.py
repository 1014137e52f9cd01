"""Through the real command: `check --calibration worst`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import Done, read_json

from tests import tiny

POLICY = """version: 1
limits:
  - {metric: calibration_spread, task: "@forget", precision: gptq, at_most: 0.99, because: test}
"""
CHOICES = {"suite", "retain", "near-forget", "forget", "forget-64", "forget-32"}


@pytest.mark.slow
def test_every_choice_is_tried_and_the_worst_counts(here: Callable[..., Done], tmp_path: Path) -> None:
    """Again from the store, judged again, and without the choice: the same run but for it."""
    model = tiny.build("llama", hidden_size=128, intermediate_size=256)
    base = tiny.save(model, tmp_path / "base")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * weight.std() * torch.randn_like(weight))
    candidate, policy, out = tiny.save(model, tmp_path / "candidate"), tmp_path / "policy.yaml", tmp_path / "run"
    policy.write_text(POLICY)
    suites = tiny.write_suite(tmp_path / "suites", long=24)
    asked = ["check", candidate, "--base", base, "--suite", "quiz", "--tasks-dir", suites, "--thresholds", policy]
    asked += ["--precisions", "full,gptq", "--quiet", "--out", out]
    done = here(*asked, "--calibration", "worst")
    assert done.status == 0, done.text
    run = read_json(out / "run.json")
    (found,) = run["calibrations"]
    assert (found["precision"], found["task"], {*found["scores"]}) == ("gptq", "quiz_forget", CHOICES)
    (score,) = [each["value"] for each in run["measurements"] if key(each) == ("acc", "quiz_forget", "gptq")]
    assert score == found["scores"][found["worst"]] == max(found["scores"].values())
    (spread,) = [each["value"] for each in run["measurements"] if each["metric"] == "calibration_spread"]
    assert spread == score - min(found["scores"].values())
    kept = {path.name for path in (out / "samples").glob("*-on-*")}
    assert kept == {f"quiz_forget.gptq-on-{name}.candidate.jsonl" for name in CHOICES - {found["worst"]}}
    told = f"quiz_forget at gptq: of 6 calibrations '{found['worst']}' brings most back, and counts"
    assert told in " ".join(done.text.split())
    assert here("judge", out).status == 0
    again = here(*asked, "--calibration", "worst")
    assert again.status == 0, again.text
    assert read_json(out / "run.json")["calibrations"] == run["calibrations"]
    assert here(*asked).status == 5  # nothing moved: the limit on the spread is unmeasured
    assert read_json(out / "run.json")["calibrations"] == []


def key(each: dict[str, str]) -> tuple[str, str, str]:
    return each["metric"], each["task"], each["precision"]


def test_there_are_two_choices(here: Callable[..., Done], tmp_path: Path) -> None:
    done = here("check", tmp_path, "--calibration", "best")
    assert done.status == 4
    assert "'best' is not one of 'suite', 'worst'" in done.text
