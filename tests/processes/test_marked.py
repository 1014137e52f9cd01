"""Daemons that leave our group and session end with us all the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from unlearn_guard.processes import children
from unlearn_guard.processes.marked import NAME, marked

DAEMON = """\
import subprocess, sys
code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
daemon = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)
daemon.stdout.readline()
print(daemon.pid, flush=True)
"""
OWNER = f"""\
import subprocess, sys, time
from unlearn_guard.processes.marked import marked
with marked():
    subprocess.run([sys.executable, "-c", {DAEMON!r}], check=True)
    time.sleep(600)
"""


TITLED = """\
import ctypes, os, time
start = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[47])
ctypes.memset(start, 0, 8)
print(flush=True)
time.sleep(600)
"""
"""Writes over the beginning of its variables, as a title of its own does. Linux: env_start is field 50 of stat."""


def gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_daemon_ends_with_the_block() -> None:
    with marked():
        said = subprocess.run([sys.executable, "-c", DAEMON], capture_output=True, text=True, check=True).stdout
        daemon = psutil.Process(int(said))
        assert daemon.environ()[NAME] == os.environ[NAME]
        time.sleep(0.2)
        assert daemon.is_running()
    assert gone(daemon.pid, 0)
    assert NAME not in os.environ


def test_what_was_started_before_lives_on() -> None:
    others = [os.environ | {}, os.environ | {NAME: "another"}]
    started = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=env) for env in others]
    with marked():
        time.sleep(1.5)  # looked for more than once
    assert [each.poll() for each in started] == [None, None]
    for each in started:
        each.communicate()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to find the variables by")
def test_a_daemon_that_writes_a_title_over_its_variables_ends_too() -> None:
    with marked():
        daemon = subprocess.Popen([sys.executable, "-c", TITLED], stdout=subprocess.PIPE)
        assert daemon.stdout is not None
        daemon.stdout.readline()
        assert NAME not in psutil.Process(daemon.pid).environ()
    assert daemon.wait(20) == -signal.SIGKILL
    daemon.stdout.close()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("group", [False, True])
def test_a_daemon_ends_with_its_owner(sent: signal.Signals, group: bool, tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-P", "-c", OWNER],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=children.environment(),
        start_new_session=True,
    )
    assert owner.stdout is not None
    daemon = int(owner.stdout.readline())
    assert not gone(daemon, 0)
    (os.killpg if group else os.kill)(owner.pid, sent)
    assert owner.wait(20) == -sent
    owner.stdout.close()
    assert gone(daemon)
