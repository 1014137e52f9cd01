"""Where there is no terminal, progress is plain lines: which step, after what time, and what is left of a long one."""

from io import StringIO

from rich.console import Console

from unlearn_guard.reports.progress import Bars


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_plain_log_says_elapsed_and_remaining_time() -> None:
    out, clock = StringIO(), Clock()
    with Bars(Console(file=out, width=80), clock) as bars:
        bars.plan(14)
        bars.begin("open base")
        clock.now = 42.0
        bars.begin("score base at nf4")
        for now, done in ((43.0, 1), (70.0, 90), (73.0, 100), (80.0, 120), (104.0, 200), (3750.0, 399), (3760.0, 400)):
            clock.now = now
            bars.advance(done, 400)
    assert out.getvalue().splitlines() == [
        "[1/14 0:00] open base",
        "[2/14 0:42] score base at nf4",
        "[2/14 1:13] score base at nf4: 100 of 400, about 1:33 left",
        "[2/14 1:44] score base at nf4: 200 of 400, about 1:02 left",
        "[2/14 1:02:30] score base at nf4: 399 of 400, about 0:09 left",
    ]


def test_the_number_of_steps_may_not_be_known_yet() -> None:
    out = StringIO()
    with Bars(Console(file=out, width=80), Clock()) as bars:
        bars.plan(0)
        bars.begin("open candidate")
    assert out.getvalue() == "[1 0:00] open candidate\n"


def test_nothing_is_caught_that_others_print() -> None:
    """rich's own default takes sys.stdout and sys.stderr for itself, and what a library prints then escapes its log."""
    import sys

    before = sys.stdout, sys.stderr
    with Bars(Console(file=StringIO(), force_terminal=True)):
        assert (sys.stdout, sys.stderr) == before
