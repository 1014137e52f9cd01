"""The evidence fuzzer at a fixed seed, and that it would notice what it looks for."""

import json
from pathlib import Path

import pytest

from benchmarks.fuzz_evidence import main, try_one
from benchmarks.fuzzing import borne_out
from benchmarks.fuzzing.evidence import TARGETS, World, bend, draw, put, world
from unlearn_guard.reopening.run import read_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tmp_path_factory.mktemp("world"))


def test_three_hundred_inputs_end_in_a_status_and_no_more(made: World, tmp_path: Path) -> None:
    outcomes = [try_one(draw(0, index), made, tmp_path / "input") for index in range(300)]
    assert [each for each in outcomes if each.finding] == []
    assert {each.one.target for each in outcomes} == set(TARGETS)
    assert {each.status for each in outcomes} >= {0, 1, 4}


@pytest.mark.slow
def test_six_thousand_inputs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["fuzz_evidence", "--inputs", "6000", "--seed", "1", "--jobs", "2"])
    assert main() == 0, capsys.readouterr().out


def test_an_input_is_its_seed_and_index(made: World, tmp_path: Path) -> None:
    one, again = draw(3, 11), draw(3, 11)
    assert one == again
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        bend(one, made, tmp_path / folder)
    files = [sorted(p.read_bytes() for p in (tmp_path / each).rglob("*") if p.is_file()) for each in "ab"]
    assert files[0] == files[1]


def test_the_oracle_agrees_with_the_guard_on_sound_runs(made: World, tmp_path: Path) -> None:
    """By its own slow sums a passed run holds every limit, and of a failed one the two that are broken are named."""
    for passing in (True, False):
        put(made.runs[passing], tmp_path / str(passing))
        verdict = read_run(tmp_path / str(passing)).verdict
        assert verdict.passed == passing == (not borne_out.broken(tmp_path / str(passing)))
    assert "ptq_gap[forget_task-nf4] is 0.65" in borne_out.broken(tmp_path / "False")[0]


def test_the_oracle_sees_a_pass_that_the_answers_do_not_bear_out(made: World, tmp_path: Path) -> None:
    put(made.runs[True], tmp_path)
    path = tmp_path / "samples" / "forget_task.nf4.candidate.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "correct": 1.0}) + "\n" for line in lines))
    assert any("ptq_gap" in each for each in borne_out.broken(tmp_path))
    part = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**part, "limit": 5}))
    assert "only part of the items was asked" in borne_out.broken(tmp_path)
