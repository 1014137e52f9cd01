"""What nobody foresaw."""

import click
import pytest

from unlearn_guard.command_line import app as cli
from unlearn_guard.errors import ExitStatus


def test_an_unforeseen_fault_is_no_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Python would leave with 1, which says that a limit was measured and is broken."""

    @click.command()
    def broken() -> None:
        raise RuntimeError("CUDA out of memory\x1b[2J")

    monkeypatch.setattr(cli, "app", broken)
    assert cli.run([]) is ExitStatus.MEASURING_FAILED
    told = capsys.readouterr().err
    assert "CUDA out of memory" in told
    assert "\x1b" not in told
    assert "there is no verdict" in told
