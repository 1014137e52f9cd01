"""Exponents of growth: worked out by hand, and every stage at its smallest size."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growing import STAGES, Stage
from benchmarks.growth import Exponent, Line, Point, exponent

SIZES = (2, 4, 8, 16)


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_of_a_power_is_the_power(power: float) -> None:
    found = exponent(SIZES, [3.0 * size**power for size in SIZES])
    assert (found.value, found.low, found.high) == pytest.approx((power, power, power), abs=1e-9)


def test_the_interval_is_student_s_of_two_degrees_of_freedom() -> None:
    # In doublings the costs are 0, 1, 0, 1 at 0, 1, 2, 3: slope .2 from .2; the sizes' squared deviations are 5.
    found = exponent(SIZES, [1.0, 2.0, 1.0, 2.0])
    assert found.value == pytest.approx(0.2)
    residual = sum((y - (0.2 + 0.2 * x)) ** 2 for x, y in enumerate((0, 1, 0, 1)))
    assert found.high - found.value == pytest.approx(4.302653 * (residual / 2 / 5) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(("time", "memory", "above"), [(1.0, 1.0, False), (1.11, 0.5, True), (0.5, 2.0, True)])
def test_a_line_is_above_by_either(time: float, memory: float, above: bool) -> None:
    point = Point(size=1, seconds=1.0, bytes=1)
    slopes = (Exponent(value=each, low=each, high=each) for each in (time, memory))
    assert Line(stage="s", axis="a", points=(point,), time=next(slopes), memory=next(slopes)).above is above
    assert ("ABOVE" in str(Exponent(value=time, low=0, high=2))) is (time > growth.MOST)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.name}-{stage.axis.partition(',')[0]}")
def test_every_stage_runs_and_grows_by_doublings(stage: Stage, tmp_path: Path) -> None:
    units = [stage.units(size) for size in stage.sizes]
    assert all(1.4 < larger / smaller <= 2.5 for smaller, larger in pairwise(units))
    stage.prepare(stage.sizes[0], tmp_path)()


@pytest.mark.slow
def test_the_command_prints_an_exponent_a_line() -> None:
    command = [sys.executable, "-P", "-m", "benchmarks.growth", "--only", "judge"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    rows = done.stdout.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [["judge", "items"], ["judge", "formats"]]
