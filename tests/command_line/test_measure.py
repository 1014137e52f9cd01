"""`check --measure`, through the real command: what is asked for, what a policy asks for, and what it finds."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]

NAMES = ("relearn_recovery", "probe_recovery", "lens_recovery", "unlearning_depth")


@pytest.fixture
def asked(candidate: Candidate, tmp_path: Path) -> tuple[object, ...]:
    return ("--base", candidate("base"), "--suite", "organism", "--precisions", "full", "--out", tmp_path / "run")


def test_4_a_measurement_that_nobody_knows_is_named_before_anything_is_measured(
    here: Guard, candidate: Candidate, asked: tuple[object, ...]
) -> None:
    done = here("check", candidate("base"), *asked, "--measure", "relearn,patching")
    assert done.status == 4
    assert "--measure 'patching' is not known" in done.err
    assert "Known: relearn, probe, lens, depth, all" in done.err


def measured(run: Path) -> dict[str, float]:
    found = read_json(run / "run.json")["measurements"]
    return {f"{each['metric']}[{each['task']}-{each['precision']}]": each["value"] for each in found}


@pytest.mark.slow
def test_1_what_is_only_redirected_comes_back_when_a_few_facts_are_taught(
    guard: Guard, candidate: Candidate, asked: tuple[object, ...], tmp_path: Path
) -> None:
    """The policy limits relearning, so it is measured by itself; the rest is asked for."""
    policy, run = tmp_path / "policy.yaml", tmp_path / "run"
    policy.write_text(
        "version: 1\nlimits:\n"
        '  - {metric: forget_drop, task: "@forget", precision: full, at_least: 0.3, because: paper}\n'
        '  - {metric: relearn_recovery, task: "@forget", precision: full, at_most: 0.3, because: ours}\n'
    )
    command = ("check", candidate("redirected"), *asked, "--thresholds", policy, "--verbose")
    done = guard(*command)
    assert done.status == 1, done.text
    assert "FAILED relearn_recovery[organism_forget-full]" in done.text
    assert "teach candidate again" in done.text
    found = measured(run)
    assert found["relearn_recovery[organism_forget-full]"] > 0.8
    assert not [name for name in found if name.startswith(NAMES[1:])], "nobody asked for the rest"
    (path, *_) = sorted((run / "residue").iterdir())
    assert read_json(path)["trials"]["subject"] == read_json(run / "run.json")["candidate"]["digest"]
    assert "relearn_recovery" in (run / "report.html").read_text()
    assert guard("judge", run).status == 1
    done = guard(*command, "--measure", "lens,depth")
    assert done.status == 1
    found = measured(run)
    assert {name.partition("[")[0] for name in found} >= {"relearn_recovery", "lens_recovery", "unlearning_depth"}
    assert found["unlearning_depth[organism_forget_plain-full]"] < 0.6, "all layers but the last carry the answer"
    stages = {stage["name"]: stage for stage in read_json(run / "run.json")["stages"]}
    assert stages["teach candidate again"]["cached"]
    assert not stages["patch candidate into base"]["cached"]
