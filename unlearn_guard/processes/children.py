"""Python processes of ours take no code from the directory that they are started in: it may be the candidate's.

Python puts that directory first on its path for `-m` and `-c`, multiprocessing's children included, so that
a `pickle.py` or `pytest.py` there would run.

And none of them outlives us, however we end: SIGKILL leaves nobody to clean up, so each looks after itself.
"""

import os
import select
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

SAFE = "PYTHONSAFEPATH"
NO_PLUGINS = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""pydantic's plug-ins may change what any file is found to say, and it takes 20 ms to look for them."""

NEUTRAL = Path(os.sep)
"""A directory that no checkpoint lies in and that every machine has: where a process is started that needs none."""


def keep_safe() -> None:
    """From here on every Python that this process starts, and every one that those start, has a safe path.

    And nobody's plug-in stands between a file and what pydantic reads in it.
    """
    os.environ.update({SAFE: "1", **NO_PLUGINS})


def python(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours, whatever lies in the working directory."""
    return (sys.executable, "-P", "-m", module)


def run_tethered(module: str, *arguments: str, cwd: Path, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a module that is not ours to its end; it ends with us, however we do."""
    command = [*python("unlearn_guard.processes.tether"), module, *arguments]
    lifeline, ours = os.pipe()
    try:
        return subprocess.run(command, stdin=lifeline, cwd=cwd, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    finally:
        os.close(lifeline)
        os.close(ours)


def environment(kept: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of such a process: those `kept` (default: ours), a safe path, and this very package to be found.

    What PYTHONPATH names is the user's word and means the same from any directory; an empty entry, which
    means the working directory and is rarely meant, is left out.
    """
    found = dict(os.environ if kept is None else kept)
    places = [str(Path(place).absolute()) for place in found.get("PYTHONPATH", "").split(os.pathsep) if place]
    package = str(Path(__file__).resolve().parents[2])
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if package not in (*places, *installed):  # a checkout, found by way of the directory that it was started in
        places.insert(0, package)
    return found | {SAFE: "1", "PYTHONPATH": os.pathsep.join(places)}


def end_with(lifeline: int) -> None:
    """End this process, and all that it starts from here on, when the descriptor `lifeline` ends.

    Whoever started this process holds the other end, so it ends with him, however he does. Another process keeps
    watch, as a thread would wait for a library that keeps Python's lock. To be called before there are threads.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    alive, _ = os.pipe()  # its other end stays open until this process ends
    if os.fork() == 0:
        try:
            _watch(lifeline, alive)
        finally:
            os.killpg(0, signal.SIGKILL)


def end_with_parent() -> None:
    """End this process of multiprocessing's with its parent: a pool's initializer, as it comes before long imports."""
    import multiprocessing  # here, as no command that only tells something needs it

    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process is nobody's child")
    end_with(parent.sentinel)


def _watch(*lifelines: int) -> None:
    """Until one of them ends. Everything else is closed: locks and pipes are not this process's to hold."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kept = sorted(lifelines)
    for low, high in zip((-1, *kept), (*kept, os.sysconf("SC_OPEN_MAX")), strict=True):
        if low + 1 < high:  # an empty range would be taken for all of them
            os.closerange(low + 1, high)
    waiting = select.poll()
    for each in kept:
        waiting.register(each, select.POLLIN)
    while all(os.read(ended, 4096) for ended, _ in waiting.poll()):
        pass
