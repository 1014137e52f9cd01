"""`python -m unlearn_guard.processes.marked NAME=VALUE`: once its input ends, so does every process with that variable.

For a library that starts daemons of its own, in groups and sessions of their own: those of Ray notice that nobody
needs them any more, but may take minutes over it. What a process was started with, all that it starts inherits.
"""

import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from unlearn_guard.processes.children import NEUTRAL, environment, python

NAME = "UNLEARN_GUARD_MARK"
_LOOKS = 40
_PAUSE = 0.25
_LOOK = 0.5


@contextmanager
def marked() -> Iterator[None]:
    """Whatever this process starts in here, directly or not, ends with the block, or with us, however we end.

    One process keeps watch: the pipe to it closes with us, and it is in a session of its own, since a signal
    to our group must not reach the one that cleans up after it.
    """
    value = uuid.uuid4().hex
    command = [*python("unlearn_guard.processes.marked"), f"{NAME}={value}"]
    guard = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=NEUTRAL,
        env=environment(),
        start_new_session=True,
    )
    os.environ[NAME] = value
    try:
        yield
    finally:
        del os.environ[NAME]
        guard.communicate()


def watch(owner: int) -> set[psutil.Process]:
    """Until our input ends; then all that the process `owner` was seen to start meanwhile, in however many steps.

    Ray's daemons write a title over their variables, the mark among them, and lose their parent when it is killed.
    """
    before, seen = set[psutil.Process](), set[psutil.Process]()
    with suppress(psutil.NoSuchProcess):  # it has gone, and our input with it
        process = psutil.Process(owner)
        before = set(process.children(recursive=True))
        while not select.select([sys.stdin], [], [], _LOOK)[0]:
            seen |= set(process.children(recursive=True))
    sys.stdin.buffer.read()
    return seen - before


def end_all(name: str, value: str, seen: Iterable[psutil.Process] = ()) -> None:
    """Kill what was seen, what carries the variable, and what that has started, until a look finds nothing."""
    known = set(seen)
    for _ in range(_LOOKS):
        found = {each for each in known if _lives(each)}
        found |= {each for each in psutil.process_iter() if carries(each, name, value)}
        with suppress(psutil.Error):
            found |= {child for each in found for child in each.children(recursive=True)}
        if not found:
            return
        for each in found:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        time.sleep(_PAUSE)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def carries(process: psutil.Process, name: str, value: str) -> bool:
    """Whether that process was started with the variable; not another user's, nor one that has gone or is a zombie.

    Read as it lies in memory where that can be had: a process that writes a title of its own, as Ray's do, leaves
    zeros at the beginning of its variables, which psutil takes for their end.
    """
    try:
        raw = Path(f"/proc/{process.pid}/environ")
        if raw.parent.exists():
            return f"{name}={value}".encode() in raw.read_bytes().split(b"\0")
        return bool(process.environ().get(name) == value)
    except (psutil.Error, OSError):
        return False


if __name__ == "__main__":
    variable, _, wanted = sys.argv[1].partition("=")
    end_all(variable, wanted, watch(os.getppid()))
