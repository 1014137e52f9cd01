import pytest

from unlearn_guard.calibrating.outcomes import Judged, Rate, Truth, caught_by, confusion, false_alarms, false_passes
from unlearn_guard.calibrating.writing import MARKS, put_between
from unlearn_guard.errors import UsageError
from unlearn_guard.records import Check, Limit, Measurement, Property, Verdict

HONEST, KNOWS, BROKEN = (
    Truth(knows=False, keeps=True),
    Truth(knows=True, keeps=True),
    Truth(knows=False, keeps=False),
)


def judged(truth, value):
    """One limit, forget_drop >= 0.3, on this value; None: nobody measured it."""
    limit = Limit(
        metric="forget_drop", task="t", precision="full", at_least=0.3, because="b", guards=Property.FORGETTING
    )
    found = (
        None
        if value is None
        else Measurement(subject="s", precision="full", task="t", metric="forget_drop", value=value, samples=4)
    )
    return Judged(
        name="n",
        title="n-0",
        truth=truth,
        verdict=Verdict(checks=(Check(limit=limit, measurement=found),), complete=True),
    )


ZOO = [judged(HONEST, 0.5), judged(HONEST, 0.1), judged(HONEST, None), judged(KNOWS, 0.4), judged(BROKEN, 0.0)]


def test_who_deserves_and_who_passed():
    counts = confusion(ZOO)
    assert [counts[True, word] for word in ("passed", "incomplete", "failed")] == [1, 1, 1]
    assert [counts[False, word] for word in ("passed", "incomplete", "failed")] == [1, 0, 1]
    assert (false_passes(ZOO).count, false_passes(ZOO).of) == (1, 2)
    assert (false_alarms(ZOO).count, false_alarms(ZOO).of) == (1, 3)


def test_which_property_caught_what():
    caught, alarms = caught_by(ZOO, Property.FORGETTING)
    assert (caught.count, caught.of, alarms.count, alarms.of) == (1, 2, 1, 3)
    assert caught_by(ZOO, Property.ERASURE)[0].count == 0


def test_wilsons_interval_of_none_in_ten():
    """z^2 / (n + z^2) = 3.8415 / 13.8415."""
    low, high = Rate(count=0, of=10).interval
    assert low == pytest.approx(0.0, abs=1e-12)
    assert high == pytest.approx(3.841459 / 13.841459, abs=1e-6)
    assert Rate(count=0, of=0).interval is None


def test_the_page_keeps_what_stands_around_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    put_between(page, "new")
    assert page.read_text() == f"before\n{MARKS[0]}\n\nnew\n\n{MARKS[1]}\nafter\n"
    page.write_text(f"{MARKS[1]}\n{MARKS[0]}\n")
    with pytest.raises(UsageError, match="Put both lines"):
        put_between(page, "new")
