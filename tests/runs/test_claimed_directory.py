"""Who may write a run directory, and what an interrupted or a foreign one leaves."""

import os
import subprocess
import sys

import pytest

from tests.oracles.made_scores import made_run
from unlearn_guard.errors import ExitStatus, RunDirectoryError, StorageError
from unlearn_guard.runs.claim import claim
from unlearn_guard.runs.directory import clear, read_run, write_run


def test_a_foreign_directory_is_left_alone(out):
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex"):
        write_run(*made_run(), out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way(out):
    out.write_text("x")
    with pytest.raises(RunDirectoryError, match="found a file"):
        write_run(*made_run(), out)


def test_a_run_that_lost_its_marker_is_still_a_run(written):
    (written / ".unlearn-guard").unlink()
    write_run(*made_run(), written)
    assert read_run(written).verdict.passed


def test_two_runs_in_one_directory(out):
    hold = "import sys, pathlib\nfrom unlearn_guard.runs.claim import claim\n"
    hold += "with claim(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match="another run") as error:
            write_run(*made_run(), out)
        assert error.value.exit_status is ExitStatus.USAGE
        other.kill()  # a killed run leaves no lock behind
    write_run(*made_run(), out)
    assert read_run(out).verdict.passed


def test_a_claim_is_free_inside_of_itself(out):
    with claim(out):
        write_run(*made_run(), out)
        with claim(out):
            clear(out)
    assert not (out / "run.json").exists()


def test_a_disk_that_is_full_leaves_no_verdict(written, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device") as error:
        write_run(*made_run(), written)
    assert error.value.exit_status is ExitStatus.MEASURING_FAILED
    assert error.value.fix
    assert not (written / "run.json").exists()
    assert not list(written.rglob("*.tmp"))


def test_what_a_killed_run_was_writing_goes_with_the_next(written):
    (written / "samples" / ".forget_task.full.base.jsonl.x1.tmp").write_text("{")
    (written / ".run.json.x2.tmp").write_text("{")
    write_run(*made_run(), written)
    assert not list(written.rglob("*.tmp"))
    assert read_run(written).verdict.passed
