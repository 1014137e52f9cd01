"""Python processes of ours take no code from the directory that they are started in: it may be the candidate's.

Python puts that directory first on its path for `-m` and `-c`, multiprocessing's children included, so that
a `pickle.py` or `pytest.py` there would run.
"""

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

SAFE = "PYTHONSAFEPATH"
NEUTRAL = Path(os.sep)
"""A directory that no checkpoint lies in and that every machine has: where a process is started that needs none."""


def keep_safe() -> None:
    """From here on every Python that this process starts, and every one that those start, has a safe path."""
    os.environ[SAFE] = "1"


def python(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours, whatever lies in the working directory."""
    return (sys.executable, "-P", "-m", module)


def environment(kept: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of such a process: those `kept` (default: ours), a safe path, and this very package to be found.

    What PYTHONPATH names is the user's word and means the same from any directory; an empty entry, which
    means the working directory and is rarely meant, is left out.
    """
    found = dict(os.environ if kept is None else kept)
    places = [str(Path(place).absolute()) for place in found.get("PYTHONPATH", "").split(os.pathsep) if place]
    package = str(Path(__file__).resolve().parents[1])
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if package not in (*places, *installed):  # a checkout, found by way of the directory that it was started in
        places.insert(0, package)
    return found | {SAFE: "1", "PYTHONPATH": os.pathsep.join(places)}
