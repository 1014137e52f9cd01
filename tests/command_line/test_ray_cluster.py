"""Twelve real cells on a Ray cluster of two nodes, one of which dies at work: the local engine's bytes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import Done

from tests.quiz import limits
from unlearn_guard.comparing import measure_cell
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.cell_file import read_cell
from unlearn_guard.runs.claim import MARKER
from unlearn_guard.runs.directory import open_run

pytestmark = pytest.mark.slow

POLICY = limits("forget_drop", "retain_drop", precisions=("full",))
"""Scores alone: attribution takes as long again, and test_compare_command has it through Ray too."""

Candidate = Callable[[str], Path]
CELLS = 12


@pytest.fixture(scope="module")
def words(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    """What both engines are asked; --out comes on top."""
    folder = tmp_path_factory.mktemp("asked")
    grid, policy = folder / "grid.yaml", folder / "policy.yaml"
    policy.write_text(POLICY)
    grid.write_text("grad_diff: {steps: 2, batch_size: 4, lr: [1e-3, 3e-3]}")
    return (
        *("--methods", "grad_diff", "--base", candidate("base"), "--suites", "organism", "--seeds", "0,1,2,3,4,5"),
        *("--grid", grid, "--precisions", "full", "--thresholds", policy, "--limit", "4", "--device", "cpu"),
    )


@pytest.fixture(scope="module")
def local(guard: Callable[..., Done], words: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same twelve by the local engine, with a store of its own."""
    folder = tmp_path_factory.mktemp("local")
    done = guard("compare", *words, "--jobs", "2", "--out", folder / "out", UNLEARN_GUARD_CACHE=str(folder / "store"))
    assert done.status == 0, done.text
    return folder / "out"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes on the loopback that hold one cell each, with a store that no other comparison has written to."""
    from ray.cluster_utils import Cluster

    # Ray turns 127.0.0.1 into the machine's own address, save where it takes the machine for a cluster of one.
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "memory": 4 * 10**9}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.second = made.add_node(**node)
    yield made
    made.shutdown()


def at_work(node: Any, out: Path) -> dict[psutil.Process, Path]:
    """The cells' processes on this node that hold a cell's lock and have begun it, each with the cell's folder."""
    found = {}
    for info in node.all_processes["raylet"]:
        for each in psutil.Process(info.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if measure_cell.__name__ not in each.cmdline():
                    continue
                held = (Path(file.path) for file in each.open_files())
                for lock in held:
                    if lock.name == MARKER and lock.parent.parent == out / "cells":
                        found[each] = lock.parent
    return {process: folder for process, folder in found.items() if (folder / "candidate").exists()}


def numbers(out: Path) -> dict[str, bytes]:
    """What was measured, as bytes: each run's measurements, and every file that its run.json lists by digest."""
    found = {}
    for run in sorted(out.glob("cells/*/run")):
        held, name = open_run(run), run.parent.name
        found[name] = strict_json.canonical(json.loads((run / "run.json").read_text())["measurements"])
        found |= {f"{name}/{file}": (run / file).read_bytes() for file in held.files}
    return found


def test_a_node_that_dies_at_work_changes_no_number(
    cluster: Any, environment: dict[str, str], words: tuple[str | Path, ...], local: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen(
        [
            *(sys.executable, "-m", "unlearn_guard", "compare", *map(str, words), "--out", str(out)),
            *("--engine", "ray", "--ray-address", cluster.address),
        ],
        env=environment
        | {"UNLEARN_GUARD_CACHE": os.environ["UNLEARN_GUARD_CACHE"], "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not (busy := at_work(cluster.second, out)) and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert busy, "no cell was at work on the node that was to die"
        cluster.remove_node(cluster.second, allow_graceful=False)
        gone, alive = psutil.wait_procs(list(busy), timeout=20)
        assert gone
        assert not alive
        said, _ = driver.communicate(timeout=240)
    finally:
        driver.kill()
    assert driver.returncode == 0, said
    assert {read_cell(folder).state for folder in busy.values()} == {"measured"}
    expected, found = numbers(local), numbers(out)
    assert len(list(out.glob("cells/*/run/run.json"))) == CELLS
    assert sum(name.endswith(".jsonl") for name in found) >= CELLS
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
