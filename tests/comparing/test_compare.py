"""The engine with processes that only pretend to measure: what becomes of cells that fail, die, or are taken."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracles.made_cells import write_made_run
from unlearn_guard.comparing.cells import Cell, Comparison
from unlearn_guard.comparing.compare import Plan, _places
from unlearn_guard.comparing.engines.local import Local
from unlearn_guard.comparing.leaderboard import write_leaderboard
from unlearn_guard.errors import RunDirectoryError, UsageError
from unlearn_guard.runs.cell_file import read_cell
from unlearn_guard.runs.claim import claim

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, shutil, signal, sys, threading, time
from pathlib import Path
from unlearn_guard.comparing import measure_cell
from unlearn_guard.runs.directory import open_run

def check(asked, cell, told):
    told.begin("pretending")
    with Path("started").open("a") as log:
        log.write(cell.method + chr(10))
    if cell.method == "fails":
        raise RuntimeError("no room")
    if cell.method == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.method == "exits":
        os._exit(9)
    if cell.method == "hangs":
        time.sleep(60)
    if cell.method.startswith("slow"):
        time.sleep(1)
    while cell.method == "waits" and not Path("noticed").exists():
        time.sleep(0.05)
    shutil.copytree("made", cell.folder / "run")
    return open_run(cell.folder / "run").digest

measure_cell._candidate = lambda *_: None
measure_cell._check = check
sys.exit(measure_cell.main())
"""


class Seen:
    """Remembers what it was told."""

    def __init__(self):
        self.ends, self.stages, self.begun = [], [], threading.Event()

    def begin(self, total, done):
        pass

    def started(self, name):
        pass

    def stage(self, name, text, done, of):
        self.stages.append(text)
        self.begun.set()

    def ended(self, name, outcome, finished):
        self.ends.append((name.split()[0], outcome, finished))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a run to copy and the pretending program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_made_run(tmp_path / "made")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def cell(method, out="out"):
    return Cell(method=method, suite="s", suite_name="s", seed=0, folder=Path(out) / "cells" / method, asked="x")


ASKED = Comparison(methods=("all",), base="b", suites=("s",), out=Path("out"))


def engine(seen, **changes):
    return Local(asked=ASKED, watcher=seen, room=0, pause=0.05, command=(sys.executable, "program.py"), **changes)


def started():
    return Path("started").read_text().split()


def test_each_cell_has_a_result_and_one_s_fault_is_not_the_others(place):
    seen, made = Seen(), [cell(name) for name in ("good", "fails", "dies", "exits", "other")]
    engine(seen).run(made, [None, None])
    results = {each.method: read_cell(each.folder) for each in made}
    assert {name: found.state for name, found in results.items()} == {
        "good": "measured", "other": "measured", "fails": "failed", "dies": "failed", "exits": "failed",
    }  # fmt: skip
    assert results["fails"].error == "RuntimeError: no room"
    assert "killed by signal 9" in results["dies"].error
    assert "status 9" in results["exits"].error
    assert ("fails", "failed: RuntimeError: no room", True) in seen.ends
    assert len(seen.ends) == 5
    assert "pretending" in seen.stages
    board = write_leaderboard([each.folder for each in made], place / "site").board
    assert sorted(each.method for each in board.absent) == ["dies", "exits", "fails"]
    assert sum(len(row.entries) for row in board.rows) == 1  # the same run twice counts once


def test_the_same_again_measures_what_is_missing_and_tries_what_failed(place):
    made = [cell("good"), cell("fails")]
    for _ in range(2):
        engine(Seen()).run(made, [None])
    assert started() == ["good", "fails", "fails"]


class Noticing(Seen):
    """Lets the cell that waits go on as soon as another compare's is noticed."""

    def ended(self, name, outcome, finished):
        super().ended(name, outcome, finished)
        if outcome == "another compare has it":
            Path("noticed").touch()


def test_a_cell_that_another_has_is_waited_for_and_not_measured_twice(place):
    first, second = Seen(), Noticing()
    other = threading.Thread(target=lambda: engine(first).run([cell("waits"), cell("good")], [None]))
    other.start()
    assert first.begun.wait(30)
    engine(second).run([cell("waits"), cell("good")], [None])
    other.join()
    assert sorted(started()) == ["good", "waits"]
    assert {name for name, _, finished in second.ends if finished} == {"waits", "good"}
    assert ("waits", "another compare has it", False) in second.ends


def test_a_cell_whose_holder_died_is_measured(place):
    held = threading.Event()
    with claim(cell("good").folder):
        worker = threading.Thread(target=lambda: (engine(Seen()).run([cell("good")], [None]), held.set()))
        worker.start()
        time.sleep(1.5)
        assert not held.is_set()
    worker.join(30)
    assert read_cell(cell("good").folder).state == "measured"


DRIVER = """
import sys
sys.path.insert(0, {root!r})
from tests.comparing.test_compare import Seen, cell, engine
from unlearn_guard.processes.interruption import remembered
try:
    with remembered():
        engine(Seen()).run([cell("good"), cell("hangs")], [None])
except KeyboardInterrupt:
    sys.exit(2)
"""


def processes(folder):
    """Processes whose working directory is this one."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                if (each / "cwd").resolve() == folder.resolve() and b"program.py" in (each / "cmdline").read_bytes():
                    found.append(int(each.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGKILL, -9)])
def test_whoever_ends_the_driver_ends_its_processes_and_keeps_what_is_finished(place, sent, status):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER.format(root=str(ROOT))])
    deadline = time.monotonic() + 40
    while (not Path("started").exists() or "hangs" not in started()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(processes(place)) == 2, "the cell's, and the one that ends it with the driver"
    os.kill(driver.pid, sent)
    assert driver.wait(60) == status
    while processes(place) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes(place) == []
    assert read_cell(cell("good").folder).state == "measured"
    assert read_cell(cell("hangs").folder).state == "begun"
    (absent,) = write_leaderboard([Path("out")], place / "site").board.absent
    assert "not finished" in absent.why


def test_an_edited_run_stops_the_engine(place):
    engine(Seen()).run([cell("good")], [None])
    path = cell("good").folder / "run" / "run.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RunDirectoryError, match="edited"):
        engine(Seen()).run([cell("good"), cell("other")], [None])


def test_no_further_cell_starts_where_memory_has_no_room(place):
    seen, most = Seen(), []
    tight = replace(engine(seen), room=1 << 60)
    tight.watcher.started = lambda name: most.append(len(tight._running))
    tight.run([cell("slow"), cell("good"), cell("other")], [None, None, None])
    assert most == [1, 1, 1]
    assert len(seen.ends) == 3


def test_places_are_devices_or_jobs(monkeypatch):
    assert _places("cpu", None) == [None]
    assert _places("cpu", 3) == [None, None, None]
    monkeypatch.setattr("unlearn_guard.comparing.compare._devices", lambda: ["0", "1"])
    assert _places("auto", None) == ["0", "1"]
    assert _places("auto", 3) == ["0", "1", "0"]
    assert _places("auto", 1) == ["0"]


def test_a_cell_may_have_several_devices_and_a_device_has_one_cell(monkeypatch):
    monkeypatch.setattr("unlearn_guard.comparing.compare._devices", lambda: ["0", "1", "2", "3", "4"])
    assert _places("auto", None, 2) == ["0,1", "2,3"]
    assert _places("cuda", None, 5) == ["0,1,2,3,4"]
    assert _places("auto", 3, 2) == ["0,1", "2,3", "0,1"]
    assert _places("auto", 1, 2) == ["0,1"]


@pytest.mark.parametrize(("device", "there"), [("auto", ["0"]), ("auto", []), ("cpu", ["0", "1"]), ("cuda", ["0"])])
def test_devices_that_are_not_there_are_refused_and_not_made_do_without(monkeypatch, device, there):
    monkeypatch.setattr("unlearn_guard.comparing.compare._devices", lambda: there)
    with pytest.raises(UsageError, match="--gpus-per-cell 2"):
        _places(device, None, 2)


def test_a_cell_s_process_sees_its_devices_and_no_others(place):
    (place / "program.py").write_text(
        "import os; open('visible', 'a').write(os.environ.get('CUDA_VISIBLE_DEVICES', 'all') + chr(10))"
    )
    one = engine(Seen())
    for devices in ("2,3", None):
        with (place / "errors").open("wb") as errors:
            process = one._start(devices, errors)
            process.communicate()
    assert (place / "visible").read_text().split() == ["2,3", os.environ.get("CUDA_VISIBLE_DEVICES", "all")]


def test_time_is_what_was_measured_and_nothing_is_made_up():
    made = [cell(name) for name in ("a", "b", "c", "d")]
    found = {
        made[0].folder: made[0].file(state="measured", run="sha256:1", seconds=10.0),
        made[1].folder: made[1].file(state="measured", run="sha256:2", seconds=20.0),
        made[2].folder: made[2].file(state="failed", error="x", seconds=1.0),
    }
    plan = Plan(asked=ASKED, cells=tuple(made), found=found, bytes_a_cell=0)
    assert [each.method for each in plan.left] == ["c", "d"]
    assert plan.seconds == 30.0
    assert replace(plan, found={}).seconds is None
