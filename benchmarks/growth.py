"""How time and memory grow: `OMP_NUM_THREADS=1 python -m benchmarks.growth [--only STAGE] [--keep]`, a few minutes.

Each stage (`benchmarks/growing.py`) is done at four sizes, each doubling what grows and nothing else. An exponent is
the slope of a line through the logarithms, with its 95 % interval: 1 is as much again for as much again, 0 is a cost
that does not grow. Seconds are the processor's, the least of three, so that a busy machine matters little; bytes are by
how much a process of its own grew. Ends with 1 where an exponent is above 1.1. `--keep` writes results/growth.json.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
from scipy import stats

from benchmarks.growing import STAGES, Stage
from benchmarks.ledger import keep
from unlearn_guard.processes.chatter import chatter_to

MOST = 1.1
"""What an exponent may be where the work is linear: beyond it something is done for each pair."""

REPEATS = 3
LEAST = 2**20
"""Growth below a mebibyte is malloc's, not the stage's."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one size cost: seconds of processor, and bytes by which its process grew."""

    size: int
    seconds: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Exponent:
    """A slope and its 95 % interval, which is as wide as four points make it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:5.2f} [{self.low:5.2f}, {self.high:5.2f}]{' ABOVE' if self.value > MOST else '':6}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A stage along what grows, and how it grew."""

    stage: str
    axis: str
    points: tuple[Point, ...]
    time: Exponent
    memory: Exponent

    @property
    def above(self) -> bool:
        """Whether time or memory grows faster than linear work may."""
        return max(self.time.value, self.memory.value) > MOST


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> Exponent:
    """By least squares of the logarithms; the interval is Student's, of two degrees of freedom fewer than points."""
    fit = stats.linregress(np.log(sizes), np.log(costs))
    half = float(stats.t.ppf(0.975, len(sizes) - 2) * fit.stderr)
    return Exponent(value=float(fit.slope), low=float(fit.slope) - half, high=float(fit.slope) + half)


def _measure(stage: Stage, size: int, folder: Path, answer: Connection) -> None:
    """In a process of its own, whose peak is nobody else's."""
    before = psutil.Process().memory_info().rss
    seconds = []
    with chatter_to(Path(os.devnull)):
        work = stage.prepare(size, folder)
        work()  # what is loaded and allocated once
        for _ in range(REPEATS):
            begin = time.process_time()
            work()
            seconds.append(time.process_time() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    answer.send(Point(size=size, seconds=min(seconds), bytes=max(LEAST, grown)))


def point(stage: Stage, size: int) -> Point:
    """One size of one stage; a fork, so that no size pays for what all of them import."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=_measure, args=(stage, size, Path(folder), theirs))
        process.start()
        theirs.close()
        try:
            found: Point = ours.recv()
        finally:
            process.join()
    return found


def line(stage: Stage) -> Line:
    """A stage at each of its sizes, against what grows: as many units as the stage counts at that size."""
    points = tuple(point(stage, size) for size in stage.sizes)
    units = [stage.units(each.size) for each in points]
    return Line(
        stage=stage.name,
        axis=stage.axis,
        points=points,
        time=exponent(units, [each.seconds for each in points]),
        memory=exponent(units, [each.bytes for each in points]),
    )


def lines(only: str | None = None) -> Iterator[Line]:
    """Every line, as it is measured."""
    yield from (line(stage) for stage in STAGES if only in (None, stage.name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted({stage.name for stage in STAGES}))
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    print(f"{'stage':14}{'against':22}{'largest':>10}{'time':>14}{'memory':>28}")
    found = []
    for each in lines(given.only):
        found.append(each)
        print(f"{each.stage:14}{each.axis:22}{each.points[-1].seconds:9.3f}s   {each.time} {each.memory}", flush=True)
    if given.keep:
        print(keep("growth", {"most": MOST, "lines": [asdict(each) for each in found]}))
    return int(any(each.above for each in found))


if __name__ == "__main__":
    sys.exit(main())
