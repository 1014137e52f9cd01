"""What is half-made lies apart, and goes: with its maker's block, or after a kill with the next one's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unlearn_guard.errors import StorageError
from unlearn_guard.processes import half_made as making
from unlearn_guard.processes.half_made import FORGOTTEN, PREFIX

MAKER = """
import os, signal, sys
from pathlib import Path
from unlearn_guard.processes.half_made import making
with making(Path(sys.argv[1])) as whole:
    (whole / "large").write_text("half")
    print("making", flush=True)
    sys.stdin.read()
"""


def left(folder: Path) -> list[Path]:
    return list(folder.glob(f"{PREFIX}*"))


def test_what_is_whole_is_moved_and_the_rest_goes(tmp_path: Path) -> None:
    with making.making(tmp_path / "store") as whole:
        (whole / "file").write_text("x")
        (whole.parent / "notes").write_text("y")
        assert whole.parent.stat().st_mode & 0o077 == 0
        whole.rename(tmp_path / "store" / "made")
    assert [path.name for path in (tmp_path / "store").rglob("*")] == ["made", "file"]


def test_a_failed_one_goes(tmp_path: Path) -> None:
    with pytest.raises(KeyError), making.making(tmp_path):
        raise KeyError
    assert left(tmp_path) == []


def test_a_killed_maker_s_goes_with_the_next_and_a_living_one_s_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKER, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        with making.making(tmp_path):
            assert len(left(tmp_path)) == 2
        (other,) = left(tmp_path)
        assert (other / "whole" / "large").exists()
        process.kill()
    assert left(tmp_path) == [other]
    with making.making(tmp_path):
        assert other not in left(tmp_path)
    assert left(tmp_path) == []


def test_a_folder_without_a_lock_goes_after_a_week(tmp_path: Path) -> None:
    """Its maker was killed before it had the lock, or is at work where there are none."""
    new, old = tmp_path / f"{PREFIX}new", tmp_path / f"{PREFIX}old"
    for folder in (new, old):
        folder.mkdir()
    os.utime(old, (0, new.stat().st_mtime - FORGOTTEN - 1))
    making.sweep(tmp_path)
    assert left(tmp_path) == [new]


def test_where_there_are_no_locks_it_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(making.fcntl, "flock", refused)
    with making.making(tmp_path), making.making(tmp_path):
        assert len(left(tmp_path)) == 2
    assert left(tmp_path) == []


def test_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file cannot be written"), making.making(tmp_path / "file"):
        pytest.fail("it began")
