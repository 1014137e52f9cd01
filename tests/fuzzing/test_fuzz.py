"""The fuzzer at a fixed seed, and that it would notice what it looks for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzzing.checkpoints import World, put, world
from benchmarks.fuzzing.guard import inspect
from benchmarks.fuzzing.oracle import Oracle
from benchmarks.fuzzing.targets import TARGETS, build, draw
from unlearn_guard.command_line import app as cli
from unlearn_guard.intake import open_checkpoint, with_parameters

ROOT = Path(__file__).parents[2]


def fuzz(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # a process of its own: the fuzzer keeps what it knows of base inside the package's functions
    command = [sys.executable, "-m", "benchmarks.fuzz", "--out", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_two_hundred_inputs_end_in_a_status_and_no_more(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "--inputs", "200", "--seed", "0", "--kinds", "llama,qwen2")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    counts = done.stdout.splitlines()[-1] if "loud" not in done.stdout.splitlines()[-1] else done.stdout
    assert "all" in counts


@pytest.mark.slow
def test_four_thousand_inputs_of_every_kind(tmp_path: Path) -> None:
    done = fuzz(tmp_path, "--inputs", "4000", "--seed", "1", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    root = tmp_path_factory.mktemp("world")
    made = world("llama", root / "made")
    put(made.base, root / "base")
    put(made.candidate, root / "candidate")
    return made, root


def test_an_input_is_its_seed_and_index(llama: tuple[World, Path]) -> None:
    for target in TARGETS:
        one, again = (draw(3, 11, ("llama",), target) for _ in range(2))
        assert one == again
        assert build(one, llama[0]) == build(again, llama[0])
    assert (
        len(
            {
                json.dumps(sorted(map(str, build(draw(0, index, ("llama",), "config"), llama[0]).values())))
                for index in range(30)
            }
        )
        > 20
    )


def test_the_honest_candidate_differs_in_nothing(llama: tuple[World, Path]) -> None:
    _, root = llama
    status, words, fault = inspect(root / "candidate", root / "base")
    assert (status, fault) == (0, None), words
    assert list(Oracle(root / "base").differences(root / "candidate")) == []


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("config.json", {"rms_norm_eps": 0.5}, "config: computes otherwise than base's by"),
        ("config.json", {"transformers_weights": "decoy.safetensors"}, "logits: the user's"),
        ("generation_config.json", {"eos_token_id": 5}, "answers: the user's"),
        ("generation_config.json", {"suppress_tokens": [2]}, "answers: the user's"),
        ("tokenizer_config.json", {"extra_special_tokens": ["w4 w5"]}, "tokenizer: ids"),
        ("special_tokens_map.json", {"eos_token": "w4"}, "tokenizer: end and begin"),
        ("tokenizer_config.json", {"model_input_names": ["input_ids"]}, "tokenizer: mask"),
    ],
)
def test_the_oracle_notices_what_a_user_would_get(
    tmp_path: Path, llama: tuple[World, Path], name: str, changes: dict, said: str
) -> None:
    made, root = llama
    raw = {**json.loads(made.candidate.get(name, b"{}")), **changes}
    put({**made.candidate, **made.decoys, name: json.dumps(raw).encode()}, tmp_path / "user")
    judged = with_parameters(open_checkpoint(root / "candidate"))
    oracle = Oracle(root / "base")
    found = [*oracle._reading(tmp_path / "user", judged), *oracle._computing(tmp_path / "user", judged)]
    assert any(each.startswith(said) for each in found), found


def test_a_crash_another_status_and_raw_bytes_are_findings(
    llama: tuple[World, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, root = llama

    class PanicError(BaseException):
        """As pyo3's."""

    def panics(_: list[str]) -> int:
        raise PanicError

    for run, said in (
        (panics, "traceback: PanicError left the command"),
        (lambda _: 3, "status 3"),
        (lambda _: 1, "status 1"),
        (lambda _: print("a\x1b[2J") or 0, "raw bytes"),
        (lambda _: print("Traceback (most recent call last)") or 4, "traceback"),
    ):
        monkeypatch.setattr(cli, "run", run)
        assert str(inspect(root / "candidate", root / "base")[2]).startswith(said)


def test_a_hang_is_a_finding(llama: tuple[World, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, root = llama

    def hangs(_: list[str]) -> int:
        while True:
            try:
                sum(range(1000))
            except Exception:
                return 0

    monkeypatch.setattr("benchmarks.fuzzing.guard.SECONDS", 0.2)
    monkeypatch.setattr(cli, "run", hangs)
    assert inspect(root / "candidate", root / "base")[2] == "hang: over 0 s"
