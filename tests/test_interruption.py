"""An interrupt that a library swallows is heeded all the same."""

import contextlib
import os
import signal

import pytest

from unlearn_guard.interruption import heed, remembered
from unlearn_guard.measuring import Silent, Stopwatch


def test_a_swallowed_interrupt_ends_the_next_stage() -> None:
    watch = Stopwatch(progress=Silent())
    with remembered():
        with contextlib.suppress(KeyboardInterrupt):  # what a library's clean-up does
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), watch.stage("next"):
            pytest.fail("the stage began")
        with pytest.raises(KeyboardInterrupt):
            watch.advance(1, 2)
    heed()  # nothing is left over


def test_nothing_asked_nothing_raised() -> None:
    watch = Stopwatch(progress=Silent())
    with remembered(), watch.stage("one"):
        watch.advance(1, 1)
    assert [stage.name for stage in watch.stages] == ["one"]
