"""A `check` that is ended from outside while its quantizer works: what it says, and that nothing of it lives on."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import Done

from tests import tiny
from unlearn_guard.processes.half_made import PREFIX

MARK = "UNLEARN_GUARD_TEST_MARK"


def living(mark: str) -> dict[int, str]:
    """The processes that a marked one has started, itself included, with their command lines."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (each / "environ").read_bytes().split(b"\0"):
                found[int(each.name)] = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


def until(true: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true())


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A check of a model of a few thousand weights at gptq."""
    model = tiny.build("llama")
    base = tiny.save(model, tmp_path / "base")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.01)
    candidate = tiny.save(model, tmp_path / "candidate")
    limit = {"metric": "quantized_share", "task": "weights", "precision": "gptq", "at_least": 0.5, "because": "test"}
    policy = tmp_path / "policy.yaml"
    policy.write_text(json.dumps({"version": 1, "limits": [limit]}))
    suites = tiny.write_suite(tmp_path / "quizzes", long=24)
    where = ["--base", base, "--suite", "quiz", "--tasks-dir", suites, "--thresholds", policy]
    return list(map(str, ["check", candidate, *where, "--precisions", "full,gptq", "--out", tmp_path / "run"]))


ENDS = [(signal.SIGTERM, 2), (signal.SIGKILL, -9)]


@pytest.mark.parametrize(("sent", "status"), ENDS)
def test_nothing_lives_on_when_check_is_ended_while_it_quantizes(
    sent: signal.Signals, status: int, arguments: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    mark, store = uuid.uuid4().hex, tmp_path / "store"
    process = subprocess.Popen(
        [sys.executable, "-m", "unlearn_guard", *arguments],
        env=environment | {"UNLEARN_GUARD_CACHE": str(store), MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert until(lambda: any("spawn_main" in each for each in living(mark).values()), 300)
    time.sleep(1)  # it imports gptqmodel for some seconds
    begin = time.monotonic()
    os.kill(process.pid, sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert until(lambda: not living(mark), 5), living(mark)
    assert time.monotonic() - begin < 10, "it waited for the quantizer's process"
    left = list(store.rglob(f"{PREFIX}*"))
    if sent == signal.SIGTERM:
        assert "the same command goes on where this one stopped" in said
        assert left == []
    else:
        assert len(left) == 1
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
def test_the_same_command_finishes_and_takes_away_what_the_killed_one_left(
    arguments: list[str], tmp_path: Path, guard: Callable[..., Done], environment: dict[str, str]
) -> None:
    test_nothing_lives_on_when_check_is_ended_while_it_quantizes(signal.SIGKILL, -9, arguments, tmp_path, environment)
    done = guard(*arguments, UNLEARN_GUARD_CACHE=str(tmp_path / "store"))
    assert done.status == 0, done.text
    assert list((tmp_path / "store").rglob(f"{PREFIX}*")) == []
    assert list((tmp_path / "store").rglob("*.tmp")) == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
@pytest.mark.parametrize(("sent", "status"), ENDS)
def test_nothing_lives_on_when_compare_is_ended(
    sent: signal.Signals,
    status: int,
    engine: str,
    candidate: Callable[[str], Path],
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    """Ray would answer SIGTERM with a status of its own."""
    mark = uuid.uuid4().hex
    asked = ["--methods", "grad_diff", "--base", candidate("base"), "--suites", "organism", "--precisions", "full"]
    process = subprocess.Popen(
        [sys.executable, "-m", "unlearn_guard", "compare", *map(str, asked), "--engine", engine, "--out", "out"],
        cwd=tmp_path,
        env=environment | {MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert until(lambda: any("measure_cell" in each for each in living(mark).values()), 300)
    os.kill(process.pid, sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert until(lambda: not living(mark), 20), living(mark)
