"""Through the real command: `unlearn --lora` makes an adapter, which `check` judges on its base."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json

from tests.quiz import limits

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]


def made(guard: Guard, base: Path, out: Path, *more: str) -> Done:
    settings = [part for each in ("steps=3", "lr=1e-2", "batch_size=4") for part in ("--set", each)]
    return guard("unlearn", "npo", "--base", base, "--suite", "organism", "--out", out, *settings, *more)


def test_an_adapter_is_made_and_inspected(here: Guard, candidate: Candidate, tmp_path: Path) -> None:
    base, out = candidate("base"), tmp_path / "out"
    done = made(here, base, out, "--lora", "r=2", "--lora", "targets=down_proj")
    assert done.status == 0, done.text
    assert f"unlearn-guard check {out} --base {base}" in done.text
    assert json.loads((out / "adapter_config.json").read_text())["r"] == 2
    assert json.loads((out / "unlearn_guard.json").read_text())["hyperparameters"]["lora"]["targets"] == "down_proj"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    seen = here("inspect", out, "--base", base)
    assert seen.status == 0, seen.text
    assert "6 of" in seen.out
    assert "npo" in seen.out


@pytest.mark.parametrize(
    ("method", "lora", "said"),
    [
        ("mansu", "r=16", "it edits base's weights itself"),
        ("npo", "rank=16", "no such hyperparameter"),
        ("npo", "16", "expected KEY=VALUE, as in r=16"),
        ("npo", "r=0", "out of range"),
        ("npo", "targets=c_attn", "Give targets that base has"),
    ],
)
def test_what_no_adapter_is_made_of_ends_with_4(
    method: str, lora: str, said: str, here: Guard, candidate: Candidate, tmp_path: Path
) -> None:
    asked = ("unlearn", method, "--base", candidate("base"), "--suite", "organism", "--out", tmp_path / "o")
    done = here(*asked, "--lora", lora)
    assert (done.status, said in done.text) == (4, True), done.text
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_it_is_judged_at_full_nf4_and_unmerged_on_nf4(here: Guard, candidate: Candidate, tmp_path: Path) -> None:
    base, out, policy = candidate("base"), tmp_path / "out", tmp_path / "policy.yaml"
    assert made(here, base, out, "--lora", "r=8").status == 0
    each = ("full", "nf4", "nf4+adapter")
    policy.write_text(limits("forget_drop", "ptq_gap", "retain_drop", precisions=each), encoding="utf-8")
    done = here(
        "check",
        out,
        "--base",
        base,
        "--suite",
        "organism",
        "--thresholds",
        policy,
        "--precisions",
        ",".join(each),
        "--out",
        tmp_path / "run",
    )
    assert done.status in (0, 1), done.text
    held = read_json(tmp_path / "run" / "run.json")
    assert held["candidate"]["method"] == "npo"
    assert {check["outcome"] for check in held["checks"]} <= {"PASSED", "FAILED", "passed", "failed"}
    assert {check["precision"] for check in held["checks"]} == set(each)
    assert here("attest", tmp_path / "run", "--out", tmp_path / "statement.json").status == 0
    assert here("verify", tmp_path / "statement.json", out).status == done.status
