"""What is released is what was judged: those files, of those bytes, after a verdict that passed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from command import read_json
from directories import Command, lay
from safetensors.torch import load_file, save_file

BESIDE = (
    "pytorch_model.bin",
    "consolidated.safetensors",
    "model.gguf",
    "original/model.safetensors",
    "onnx/model.onnx",
    ".cache/model.safetensors",
    ".git/model.safetensors",
    "README.md/model.safetensors",
    "weights.dat",
    "zzz.safetensors",
)


def test_weights_that_ride_along_are_named_left_out_and_never_released(
    candidate: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    for name in BESIDE:
        lay(candidate, name)
    (candidate / "LICENSE").write_text("a text")
    status, told = command("check", candidate, "--release", tmp_path / "release")
    assert status == 0, told
    held = read_json(tmp_path / "run" / "run.json")
    notes = " ".join(held["notes"])
    assert all(repr(name) in notes for name in BESIDE)
    assert all(name in (tmp_path / "run" / "report.html").read_text() for name in BESIDE)
    released = {path.relative_to(tmp_path / "release").as_posix() for path in (tmp_path / "release").rglob("*")}
    assert released == set(held["candidate"]["files"])
    assert released.isdisjoint([*BESIDE, "LICENSE"])
    statement = tmp_path / "statement.json"
    status, told = command("attest", tmp_path / "run", "--out", statement)
    assert status == 4
    assert all(name in told for name in BESIDE)
    assert command("attest", tmp_path / "run", "--candidate", tmp_path / "release", "--out", statement)[0] == 0
    assert command("verify", statement, tmp_path / "release")[0] == 0
    assert command("verify", statement, candidate)[0] == 4
    (tmp_path / "release" / "README.md").write_text("a card")
    assert command("verify", statement, tmp_path / "release")[0] == 0


def test_a_broken_limit_releases_nothing(base: Path, command: Command, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base, tmp_path / "knows"))
    tensors = load_file(copy / "model.safetensors")
    tensors["model.norm.weight"][0] += 0.01
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    status, told = command("check", copy, "--release", tmp_path / "release")
    assert status == 1
    assert "not released" in told
    assert not (tmp_path / "release").exists()


def test_a_release_overwrites_nothing(candidate: Path, base: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "mine").write_text("x")
    status, told = command("check", candidate, "--release", tmp_path / "release")
    assert (status, "is not an empty directory" in told) == (4, True)
    assert not (tmp_path / "run" / "run.json").exists()


def test_what_happens_to_the_directory_during_the_run_changes_nothing(
    candidate: Path, base: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Base is moved into the candidate's place once the candidate was opened: it is not what is judged."""
    from unlearn_guard.checking import pipeline

    real = pipeline._measure

    def swapped(*arguments: Any) -> Any:
        candidate.rename(tmp_path / "old")
        shutil.copytree(base, candidate)
        return real(*arguments)

    monkeypatch.setattr(pipeline, "_measure", swapped)
    status, told = command("check", candidate, "--release", tmp_path / "release")
    assert status == 0, told
    forgot = [each for each in read_json(tmp_path / "run" / "run.json")["checks"] if each["metric"] == "forget_drop"]
    assert forgot[0]["value"] > 0.9
    assert (tmp_path / "release" / "model.safetensors").read_bytes() == (
        tmp_path / "old" / "model.safetensors"
    ).read_bytes()
    assert command("attest", tmp_path / "run", "--out", tmp_path / "statement.json")[0] == 4
