"""Where a row stands in the pictures."""

from dataclasses import replace

import pytest

from tests.reports.test_standing import entry
from unlearn_guard.reports.scatter import HEIGHT, WIDTH, panels
from unlearn_guard.reports.standing import ranked


def test_points_limits_and_solidity():
    rows = ranked([entry("good"), entry("back", forget_nf4=65)])
    gap, retain, _ = panels(rows)
    good, back = gap.points
    # Both forgot 70 of 90 in full precision; quantizing gives one of them 45 of 100 items back.
    assert good.x == back.x
    assert good.y > back.y  # upwards is less in SVG
    assert (good.solid, back.solid) == (True, False)
    assert "rank 2: 0.778, 0.45; not every limit held" in back.tip
    # The axis runs from 0 to 1 with 6 % to spare on either side, the limit is at 0.3.
    assert gap.line_x == pytest.approx(WIDTH * 0.36 / 1.12, abs=0.1)
    assert 0 < gap.line_y < HEIGHT
    assert good.y == gap.line_y  # a gap of 0 lies on its limit
    assert len(retain.points) == 2
    assert [text for _, text in gap.across] == ["0", "0.5", "1"]
    assert gap.across[1][0] == pytest.approx(WIDTH * 0.56 / 1.12, abs=0.1)


def test_what_was_not_measured_is_counted_and_not_drawn():
    shift = panels(ranked([entry()]))[2]
    assert (shift.points, shift.missing) == ((), 1)


def test_a_limit_that_rows_do_not_share_is_not_drawn():
    other = entry("b")
    limits = (replace(other.run.policy.limits[0], at_least=0.5), *other.run.policy.limits[1:])
    rows = ranked([entry("a"), entry("b", limits=limits)])
    assert panels(rows)[0].line_x is None
    assert panels(rows)[0].line_y is not None


def test_every_point_lies_inside():
    rows = ranked([entry(str(n), forget_full=n, forget_nf4=95, retain=10) for n in (0, 50, 95)])
    for panel in panels(rows):
        assert all(0 <= point.x <= WIDTH and 0 <= point.y <= HEIGHT for point in panel.points)
