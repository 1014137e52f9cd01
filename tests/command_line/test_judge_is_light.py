"""`judge` reads a run and a policy: what it imports and parses is counted, because seconds depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oracles.made_scores import made_run
from unlearn_guard.runs.directory import write_run

NEEDLESS = {
    *("torch", "transformers", "lm_eval", "scipy", "pandas", "sklearn", "numpy.testing", "multiprocessing", "asyncio"),
    *("unlearn_guard.registry", "unlearn_guard.checking", "unlearn_guard.intake", "unlearn_guard.quantizers"),
}
MODULES = 590
"""A seventh more than the 515 of November 2026. Each costs a third of a millisecond, and 0.3 s are the goal."""

COUNTED = """
import gc, json, sys
from unlearn_guard.command_line.app import run
from unlearn_guard.processes.children import keep_safe
keep_safe()
from unlearn_guard.judging import draft
parsed, read = [], draft.read_draft
draft.read_draft = lambda text, **of: (parsed.append(of["name"]), read(text, **of))[1]
status = run(sys.argv[1:])
print(json.dumps({"status": status, "modules": sorted(sys.modules), "parsed": parsed, "collecting": gc.isenabled()}))
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made, scores = made_run()
    write_run(made, scores, tmp_path / "run")
    return tmp_path / "run"


def counted(*arguments: object) -> dict[str, object]:
    command = [sys.executable, "-P", "-c", COUNTED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("thresholds", [(), ("--thresholds", "strict")])
def test_nothing_is_imported_that_judging_does_not_need(run: Path, thresholds: tuple[str, ...]) -> None:
    found = counted("judge", run, *thresholds)
    assert found["status"] in (0, 1, 5)
    assert not NEEDLESS & {*found["modules"]}  # type: ignore[misc]
    assert len(found["modules"]) < MODULES  # type: ignore[arg-type]
    assert found["collecting"]


def test_a_policy_is_parsed_once_however_often_it_is_asked_for(run: Path) -> None:
    found = counted("judge", run, "--thresholds", "paper")
    assert sorted(found["parsed"]) == sorted({*found["parsed"]}), found["parsed"]  # type: ignore[misc]
    assert "release" in found["parsed"]  # type: ignore[operator]


def test_plug_ins_are_looked_for_where_a_policy_names_a_precision_of_nobody_here(run: Path, tmp_path: Path) -> None:
    policy = tmp_path / "theirs.yaml"
    policy.write_text(
        "version: 1\nlimits:\n  - metric: ptq_gap\n    task: '@forget'\n    precision: nf5\n    at_most: 0\n"
        "    because: nobody ships nf5\n"
    )
    found = counted("judge", run, "--thresholds", policy)
    assert found["status"] == 4
    assert "unlearn_guard.registry" in found["modules"]  # type: ignore[operator]
