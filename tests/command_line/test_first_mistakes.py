"""Whatever is cheap to look at is looked at before a model is copied and hashed, and all of it is told at once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import Done, read_json

from unlearn_guard.checking import adapted, checkpoints

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]


@pytest.fixture
def nothing_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint is opened: neither copied nor hashed."""

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a model was opened before the mistake was told")

    for room in (adapted, checkpoints):
        monkeypatch.setattr(room, "open_sealed", opened)


RULE = "  - {{metric: {}, task: '@forget', precision: nf4, at_most: {}, because: x}}\n"


@pytest.mark.usefixtures("nothing_hashed")
def test_all_mistakes_at_once_before_anything_is_hashed(
    here: Guard, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "older").touch()
    rules = RULE.format("ptq_gap", 30) + RULE.format("ptqgap", 0.1)
    (tmp_path / "thresholds.yaml").write_text(f"version: 1\nlimits:\n{rules}")
    done = here(
        *("check", candidate("erased"), "--base", tmp_path / "nowhere", "--suite", "organism", "--device", "cuda"),
        *("--precisions", "full,nf5", "--artifact", "gptq=./x", "--release", "release"),
        cwd=tmp_path,
    )
    assert done.status == 4, done.text
    for word in (
        "no CUDA device",
        "nowhere",
        "nf5",
        "Did you mean nf4?",
        "--artifact gptq",
        "--release",
        "not an empty",
    ):
        assert word in done.text, word
    assert "It is a fraction, not percent." in done.text
    assert "'ptqgap'" in done.text
    assert "7 mistakes; nothing was measured" in done.text


@pytest.mark.usefixtures("nothing_hashed")
@pytest.mark.parametrize("suite", ["organsim", "./no/such.yaml"])
def test_a_wrong_suite_is_told_first(here: Guard, candidate: Candidate, suite: str) -> None:
    done = here("check", candidate("erased"), "--base", candidate("base"), "--suite", suite)
    assert done.status == 4, done.text
    assert suite.rpartition("/")[2] in done.text
    assert "mistakes" not in done.text, "one is told as it is"


@pytest.mark.usefixtures("nothing_hashed")
def test_another_architecture_is_one_line(here: Guard, candidate: Candidate, tmp_path: Path) -> None:
    other = Path(shutil.copytree(candidate("base"), tmp_path / "other"))
    config = read_json(other / "config.json") | {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536}
    (other / "config.json").write_text(json.dumps(config))
    done = here("check", candidate("erased"), "--base", other, "--suite", "organism")
    assert done.status == 4, done.text
    assert "another architecture: hidden_size 128 / 576, 2 more" in done.text
    assert len(done.err.splitlines()) == 2


def test_an_unknown_method_is_named_with_those_there_are(here: Guard, candidate: Candidate, tmp_path: Path) -> None:
    done = here("unlearn", "magic", "--base", candidate("base"), "--suite", "organism", "--out", tmp_path / "made")
    assert done.status == 4
    assert "no method called 'magic'" in done.text
    assert "npo, pdu, rmu" in done.text


def test_precisions_that_can_only_end_with_5_are_told_before(here: Guard, candidate: Candidate, tmp_path: Path) -> None:
    done = here("check", candidate("destroyed"), "--precisions", "full", "--limit", "2", "--out", tmp_path / "run")
    assert done.status in (1, 5)
    assert "paper has limits at nf4, gptq, awq, which --precisions leaves out" in done.text
    assert done.text.index("never with 0") < done.text.index("open base")
    assert "--thresholds organism" in done.text, "the embedded organism has limits of its own"
