"""`compare`, `plan` and `leaderboard` through the real command, on the organism with two steps of training."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done

from unlearn_guard.runs.cell_file import read_cell

pytestmark = pytest.mark.slow

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]

BROKEN = '''"""A method that runs out of memory."""
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Broken:
    def unlearn(self, model, corpora, *, seed):
        raise RuntimeError("out of memory, for once")


METHOD = Broken
'''


@pytest.fixture(scope="module")
def words(candidate: Candidate, tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    """What every command here says; --out comes on top."""
    folder = tmp_path_factory.mktemp("methods")
    (folder / "broken.py").write_text(BROKEN)
    grid = folder / "grid.yaml"
    grid.write_text("grad_diff: {steps: 2, batch_size: 4, lr: 1e-3}")
    return (
        *("--methods", "grad_diff,broken", "--methods-dir", folder, "--base", candidate("base")),
        *("--suites", "organism", "--seeds", "0,1", "--grid", grid, "--precisions", "full"),
        *("--thresholds", "organism", "--limit", "4", "--device", "cpu"),
    )


def rows(out: Path) -> list[dict[str, str]]:
    """The leaderboard without what a second measuring cannot repeat: times, and digests over them."""
    with (out / "leaderboard" / "leaderboard.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in ("run", "directory")} for row in found]


def measurements(out: Path) -> dict[str, object]:
    """Every measurement by cell."""
    return {
        path.parts[-3]: json.loads(path.read_text())["measurements"]
        for path in sorted(out.glob("cells/*/run/run.json"))
    }


@pytest.fixture(scope="module")
def whole(guard: Guard, words: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = guard("compare", *words, "--out", out)
    assert done.status == 3, done.text
    assert "1. grad_diff batch_size=4 lr=0.001 steps=2 on organism" in done.out
    assert "broken on organism, seed 0: RuntimeError: out of memory, for once" in done.text
    return out


def test_seeds_are_one_row_and_a_failed_cell_says_why(whole: Path) -> None:
    found = rows(whole)
    assert [(row["method"], row["seed"], row["verdict"]) for row in found[2:]] == [
        ("broken", "0", "not measured"), ("broken", "1", "not measured"),
    ]  # fmt: skip
    assert [(row["method"], row["seed"], row["rank"]) for row in found[:2]] == [
        ("grad_diff", "0", "1"), ("grad_diff", "1", "1"),
    ]  # fmt: skip
    assert all(row["score_full"] for row in found[:2])
    assert "±" in (whole / "leaderboard" / "index.html").read_text()


def test_the_same_again_measures_nothing_and_plan_says_so(
    guard: Guard, words: tuple[str | Path, ...], whole: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("cells/grad_diff*/run/run.json")}
    planned = guard("plan", *words, "--out", whole)
    assert "4 cells, 2 left: about" in planned.out
    assert "failed: RuntimeError" in planned.out
    begin = time.monotonic()
    part = guard("compare", *words, "--out", whole, "--cell", "1/4")
    assert time.monotonic() - begin < 30
    assert part.status == 0, part.text
    assert "1 cells, 1 measured before" in part.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


MOMENTS = 10


def test_killed_at_any_moment_and_started_twice_it_ends_the_same(
    environment: dict[str, str], words: tuple[str | Path, ...], whole: Path, tmp_path: Path
) -> None:
    out, draw = tmp_path / "out", random.Random(7)
    # One from each tenth of 1 to 14 s: a start takes about 3 s to plan and as long again to have a cell at work.
    moments = [1 + 1.3 * (index + draw.random()) for index in range(MOMENTS)]
    draw.shuffle(moments)
    print("killed after", *(f"{moment:.1f}" for moment in moments))
    command = [sys.executable, "-m", "unlearn_guard", "compare", *map(str, words), "--out", str(out)]
    own = environment | {"UNLEARN_GUARD_CACHE": str(tmp_path / "store")}  # nothing may come from the whole one's

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    seen: set[tuple[str, int, str | None]] = set()
    states = []
    for moment in moments:
        driver = start()
        time.sleep(moment)
        os.kill(driver.pid, signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL, "it had ended before it was killed"
        seen |= finished(out)
        states.append(sorted(read_cell(path.parent).state for path in out.glob("cells/*/cell.json")))
    print(*states, sep="\n")
    assert any("begun" in found for found in states), "no kill hit a cell at work"
    both = [start(), start()]
    while any(each.poll() is None for each in both):
        seen |= finished(out)
        time.sleep(0.1)
    assert [each.returncode for each in both] == [3, 3]
    assert sorted(name for name, _, _ in seen) == sorted(measurements(out)), "a cell was measured twice"
    assert rows(out) == rows(whole)
    assert measurements(out) == measurements(whole)


def finished(out: Path) -> set[tuple[str, int, str | None]]:
    """Each measured cell with the moment and the digest of its run: two for one cell are two measurings."""
    found = set()
    for path in out.glob("cells/*/cell.json"):
        cell = read_cell(path.parent)
        if cell.state == "measured":
            found.add((path.parent.name, (path.parent / "run" / "run.json").stat().st_mtime_ns, cell.run))
    return found


def test_an_edited_cell_is_refused(guard: Guard, words: tuple[str | Path, ...], whole: Path) -> None:
    path = next(whole.glob("cells/grad_diff*/run/run.json"))
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        for done in (guard("compare", *words, "--out", whole), guard("leaderboard", whole, "--out", whole / "site")):
            assert done.status == 4
            assert "run.json" in done.text
    finally:
        path.write_bytes(before)


def test_a_ray_cluster_measures_the_same_numbers(
    guard: Guard, words: tuple[str | Path, ...], whole: Path, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")  # its own: nothing may be served from what the local engine measured
    done = guard("compare", *words, "--out", tmp_path / "out", "--engine", "ray", UNLEARN_GUARD_CACHE=store)
    assert done.status == 3, done.text
    assert measurements(tmp_path / "out") == measurements(whole)
    assert rows(tmp_path / "out") == rows(whole)
