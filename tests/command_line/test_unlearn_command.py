"""`unlearn` and `list methods` through the real command."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done

pytestmark = pytest.mark.slow  # each trains; tests/unlearning/test_making.py does the same in one process

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]


def test_a_candidate_that_check_can_judge(guard: Guard, candidate: Candidate, tmp_path: Path) -> None:
    base, out = candidate("base"), tmp_path / "out"
    settings = [part for each in ("steps=3", "lr=1e-3", "batch_size=8") for part in ("--set", each)]
    done = guard("unlearn", "npo", "--base", base, "--suite", "organism", "--out", out, *settings)
    assert done.status == 0, done.text
    assert "3/3 forget" in done.err
    assert f"unlearn-guard check {out}" in done.text
    manifest = json.loads((out / "unlearn_guard.json").read_text())
    assert manifest["hyperparameters"]["batch_size"] == 8
    seen = guard("inspect", out, "--base", base)
    assert seen.status == 0, seen.text
    assert "npo" in seen.text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bad_words_end_with_4_and_say_what_would_do(guard: Guard, candidate: Candidate, tmp_path: Path) -> None:
    def fails(method: str, *more: str | Path, said: str) -> None:
        done = guard(
            "unlearn", method, "--base", candidate("base"), "--suite", "organism", "--out", tmp_path / "o", *more
        )
        assert done.status == 4, done.text
        assert said in done.text

    fails("nppo", said="Did you mean")
    fails("npo", "--set", "learning_rate=1", said="no such hyperparameter")
    fails("npo", "--set", "lr", said="expected KEY=VALUE")
    fails("npo", "--corpora", tmp_path, said="forget.jsonl or forget.parquet")
    fails("npo", "--methods-dir", tmp_path / "nowhere", said="nowhere")
    assert not (tmp_path / "o").exists()


def test_a_method_of_ones_own(guard: Guard, candidate: Candidate, tmp_path: Path) -> None:
    """The file that docs/methods.md shows."""
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "ratio.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    listed = guard("list", "methods", "--methods-dir", folder)
    assert "ratio                       Likelihood ratio" in listed.out
    settings = ["--set", "steps=2", "--set", "lr=1e-3", "--set", "margin=5"]
    out = tmp_path / "out"
    done = guard(
        *("unlearn", "ratio", "--methods-dir", folder, "--base", candidate("base")),
        *("--suite", "organism", "--out", out, *settings, "--quiet"),
    )
    assert done.status == 0, done.text
    assert json.loads((out / "unlearn_guard.json").read_text())["hyperparameters"]["margin"] == 5.0
