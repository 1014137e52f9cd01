"""`dtype_gap` through the real command: what one dtype hides, another shows."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alone import alone
from command import Done, read_json

from tests import switched
from tests.quiz import limits

Guard = Callable[..., Done]
Check = Callable[..., tuple[Done, Path]]
Planted = Callable[[str], tuple[Done, Path]]


@pytest.fixture(scope="session")
def guard(here: Guard) -> Guard:
    """In this process."""
    return here


def _check(guard: Guard, made: Path, candidate: str, out: Path, *more: str, base: str = "base") -> Any:
    suite, policy = ("--suite", "quiz", "--tasks-dir", made / "ours"), made / "policy.yaml"
    done = guard("check", made / candidate, "--base", made / base, *suite, "--thresholds", policy, "--out", out, *more)
    return done.status, done.out, done.err


@pytest.fixture
def check(guard: Guard, made: Path, tmp_path: Path) -> Check:
    """Check a candidate of `made` at full and nf4, or as `more` says."""

    def run(candidate: str, *more: str, base: str = "base") -> tuple[Done, Path]:
        return Done(*_check(guard, made, candidate, tmp_path / "run", *more, base=base)), tmp_path / "run"

    return run


def gaps(run: Path) -> dict[str, tuple[float | None, str]]:
    checks = read_json(run / "run.json")["checks"]
    return {
        check["precision"]: (check["value"], check["outcome"]) for check in checks if check["metric"] == "dtype_gap"
    }


@pytest.fixture(scope="session")
def planted(guard: Guard, made: Path, shared: Path) -> Callable[[str], tuple[Done, Path]]:
    """The check of a planted candidate, once."""

    def get(dtype: str) -> tuple[Done, Path]:
        out, told = shared / f"run-switched-{dtype}", shared / f"run-switched-{dtype}.json"
        with alone(shared / f"run-switched-{dtype}.lock"):
            if not told.exists():
                told.write_text(json.dumps([*_check(guard, made, dtype, out)]))
        return Done(*json.loads(told.read_text())), out

    return get


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_a_neuron_that_only_one_dtype_switches_on_is_caught(dtype: str, planted: Planted, made: Path) -> None:
    """Every limit that looks at one dtype holds; as that dtype's user loads it the model knows everything."""
    forget, _ = switched.facts()
    assert switched.accuracy(made / dtype, "float32", forget) == 0.0
    assert switched.accuracy(made / dtype, dtype, forget) == 1.0
    done, run = planted(dtype)
    assert done.status == 1, done.text
    assert gaps(run) == {"full": (1.0, "failed"), "nf4": (1.0, "failed")}
    others = [each for each in read_json(run / "run.json")["checks"] if each["metric"] != "dtype_gap"]
    assert {each["outcome"] for each in others} == {"passed"}
    assert f"+1.000 at full-{dtype}" in done.text
    assert "FAILED dtype_gap[quiz_forget-full]" in done.text


def test_the_answers_behind_a_gap_lie_in_the_run(planted: Planted, made: Path, guard: Guard) -> None:
    _, run = planted("bfloat16")
    name = "samples/quiz_forget.full-bfloat16.candidate.jsonl"
    assert [json.loads(line)["correct"] for line in (run / name).read_text().splitlines()] == [1.0] * 24
    assert name in read_json(run / "run.json")["files"]
    assert guard("judge", run, "--thresholds", made / "policy.yaml").status == 1


def test_without_the_limit_it_passes(planted: Planted, guard: Guard, tmp_path: Path) -> None:
    """What the limit is for: `judge` by the other limits alone, on the same run, lets the planted neuron through."""
    _, run = planted("bfloat16")
    (tmp_path / "before.yaml").write_text(limits(*switched.ONE_DTYPE, precisions=("full", "nf4")))
    done = guard("judge", run, "--thresholds", tmp_path / "before.yaml")
    assert done.status == 0, done.text


@pytest.mark.parametrize("what", ["value", "answers"])
def test_an_edited_gap_is_not_believed(what: str, planted: Planted, guard: Guard, tmp_path: Path) -> None:
    run = Path(shutil.copytree(planted("bfloat16")[1], tmp_path / "run"))
    samples = run / "samples"
    if what == "value":
        content = read_json(run / "run.json")
        next(each for each in content["measurements"] if each["metric"] == "dtype_gap")["value"] = 0.0
        (run / "run.json").write_text(json.dumps(content))
    else:
        own = samples / "quiz_forget.full.candidate.jsonl"
        shutil.copy(own, samples / "quiz_forget.full-bfloat16.candidate.jsonl")
    done = guard("judge", run)
    assert done.status == 4, done.text
    assert ("dtype_gap" if what == "value" else "full-bfloat16") in done.text or "checks" in done.text


@pytest.mark.parametrize("candidate", ["honest", pytest.param("float32", marks=pytest.mark.slow)])
def test_an_honest_candidate_passes_whatever_it_is_saved_in(candidate: str, check: Check) -> None:
    done, run = check(candidate)
    assert done.status == 0, done.text
    assert gaps(run) == {"full": (0.0, "passed"), "nf4": (0.0, "passed")}
    stages = [each["name"] for each in read_json(run / "run.json")["stages"]]
    assert "score candidate in bfloat16" in stages
    assert "score candidate in float16" in stages


@pytest.mark.slow
def test_a_run_in_another_dtype_asks_the_rest(check: Check) -> None:
    """Computed in bfloat16 it knows, which breaks forget_drop; the others show less, and that is a gap of -1."""
    done, run = check("bfloat16", "--dtype", "bfloat16", "--precisions", "full")
    assert done.status == 1, done.text
    assert gaps(run) == {"full": (-1.0, "passed"), "nf4": (None, "unmeasured")}
    names = {path.name for path in (run / "samples").iterdir()}
    assert {f"quiz_forget.full-{dtype}.candidate.jsonl" for dtype in ("float16", "float32")} <= names
    assert "quiz_forget.full-bfloat16.candidate.jsonl" not in names


@pytest.mark.slow
def test_the_same_run_again_measures_nothing_twice(check: Check) -> None:
    check("honest")
    _, run = check("honest")
    stages = [each for each in read_json(run / "run.json")["stages"] if each["name"].startswith("score candidate in")]
    assert len(stages) == 6  # at nf4 two mixtures besides
    assert all(each["cached"] for each in stages)


def test_3_an_overflow_that_base_does_not_have(check: Check) -> None:
    """It cannot be loaded in float16, so nobody knows what it would say there."""
    done, run = check("over", "--precisions", "full")
    assert done.status == 3, done.text
    assert "float16" in done.text
    assert "not finite" in done.text
    assert not (run / "run.json").exists()


@pytest.mark.slow
def test_3_an_overflow_in_the_declared_dtype(check: Check) -> None:
    done, run = check("declared_over", "--precisions", "full", base="base_over")
    assert done.status == 3, done.text
    assert not (run / "run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("candidate", "left"), [pytest.param("over", 24, marks=pytest.mark.slow), ("some_over", None)])
def test_where_base_overflows_too_what_has_an_answer_counts(candidate: str, left: int | None, check: Check) -> None:
    done, run = check(candidate, base="base_over")
    assert done.status == 0, done.text
    assert gaps(run) == {"full": (0.0, "passed"), "nf4": (0.0, "passed")}
    assert "in which base overflows too" in done.text
    evidence = run / "samples" / "quiz_forget.full-float16.candidate.jsonl"
    if left == 24:
        assert not evidence.exists()
    else:
        assert 0 < len(evidence.read_text().splitlines()) < 24
    assert len((run / "samples" / "quiz_forget.full-bfloat16.candidate.jsonl").read_text().splitlines()) == 24
