"""Every request to end is an interrupt, and one that a library swallows is heeded all the same."""

import contextlib
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from unlearn_guard.checking.progress import Silent, Stopwatch
from unlearn_guard.command_line import app as cli
from unlearn_guard.errors import QuantizationError
from unlearn_guard.processes.interruption import SIGNALS, asked, heed, listen_again, remembered


def _hear(number: int) -> None:
    """Under nohup SIGHUP is ignored, by these tests' processes too."""
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_swallowed_interrupt_ends_the_next_stage(number: signal.Signals) -> None:
    _hear(number)
    watch = Stopwatch(progress=Silent())
    with remembered():
        with contextlib.suppress(KeyboardInterrupt):  # what a library's clean-up does
            os.kill(os.getpid(), number)
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


def test_the_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with remembered():
        assert before != [signal.getsignal(number) for number in SIGNALS]
    assert before == [signal.getsignal(number) for number in SIGNALS]


def test_a_library_s_own_answer_does_not_stay() -> None:
    with remembered():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))  # as Ray does
        listen_again()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    before = signal.getsignal(signal.SIGTERM)
    listen_again()
    assert signal.getsignal(signal.SIGTERM) == before, "nobody listens outside"


def test_nohup_shuts_a_closing_terminal_out() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with remembered():
            os.kill(os.getpid(), signal.SIGHUP)
            heed()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "comes_out_as", [QuantizationError("its process died"), SystemExit(0), OSError(), ValueError()]
)
def test_an_interrupt_that_comes_out_of_a_library_as_something_else_is_2(
    comes_out_as: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        raise comes_out_as

    monkeypatch.setattr(cli.app, "main", interrupted)
    with remembered():
        assert cli.run([]) == 2
    assert "the same command goes on where this one stopped" in capsys.readouterr().err


@pytest.mark.parametrize("status", [0, 1])
def test_a_library_that_ends_the_process_gives_no_verdict(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object, **__: object) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(cli.app, "main", ended)
    assert cli.run([]) == 3


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_after_the_verdict_hastens_the_end_and_leaves_the_status(number: signal.Signals) -> None:
    code = (
        "import atexit, os, sys, time; from unlearn_guard.command_line import app as cli\n"
        f"atexit.register(lambda: (os.kill(os.getpid(), {int(number)}), time.sleep(60)))\n"
        "cli.run = lambda _: 5\n"
        "print('the verdict')\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, preexec_fn=partial(_hear, number)
    )
    assert (done.returncode, done.stdout) == (5, "the verdict\n"), done.stderr


def test_a_second_interrupt_while_the_first_is_told_is_still_2() -> None:
    code = (
        "import os, signal; from unlearn_guard.command_line import app as cli\n"
        "def again(*_, **__): os.kill(os.getpid(), signal.SIGTERM)\n"
        "cli.app.main = cli.click.echo = again\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2, done.stderr
