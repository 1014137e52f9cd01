"""Every command that reads a run, and where a run holds a measurement."""

from pathlib import Path

from tests.oracles.made_scores import CANDIDATE
from unlearn_guard.command_line.app import run as command

ROOT = Path(__file__).parents[2]


def refused_by_all(out, *said, capsys):
    for call in (
        ["judge", out],
        ["judge", out, "--thresholds", ROOT / "thresholds.yaml"],
        ["report", out, "--markdown", out / "x.md"],
        ["report", out, "--annotations"],
        ["attest", out, "--out", out.parent / "statement.json"],
        ["leaderboard", out, "--out", out.parent / "site"],
    ):
        capsys.readouterr()
        status = command([str(each) for each in call])
        told = capsys.readouterr()
        assert status == 4, (call, told)
        assert all(each in told.err for each in said), (call, told.err)
        assert "Traceback" not in told.err
    assert not (out.parent / "statement.json").exists()


def measured(content, metric, task="forget_task", precision="full", subject=CANDIDATE):
    (found,) = (
        each
        for each in content["measurements"]
        if (each["metric"], each["task"], each["precision"], each["subject"]) == (metric, task, precision, subject)
    )
    return found
