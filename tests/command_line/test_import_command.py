"""`import --open-unlearning`, the real command on a run directory."""

import json

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_run, made_score, made_task, ones
from tests.oracles.public_logs import TOFU_SUMMARY
from unlearn_guard.command_line.app import run as command
from unlearn_guard.runs.directory import write_run


@pytest.fixture
def run_dir(tmp_path):
    """Base recalls 90 of 100 items of TOFU's, the candidate 20."""
    task = made_task(100, "tofu_forget10_rouge_all_chat", metric="rougeL_recall", chance=0.0)
    scores = (made_score(task, ones(90, 100), BASE), made_score(task, ones(20, 100), CANDIDATE))
    run, _ = made_run(limits=(made_limit("forget_drop", task=task.name, at_least=0.3),), scores=scores)
    write_run(run, scores, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "TOFU_SUMMARY.json"
    path.write_text(json.dumps({"forget_Q_A_ROUGE": TOFU_SUMMARY["forget_Q_A_ROUGE"], "mia_gradnorm": 0.34}))
    return path


def test_the_numbers_stand_side_by_side_and_the_lonely_are_named(run_dir, log, capsys):
    assert command(["import", str(run_dir), "--open-unlearning", str(log)]) == 0
    head, row, alone = capsys.readouterr().out.splitlines()
    assert head.split() == ["public", "log", "there", "here", "here", "-", "there", "ours"]
    assert row.split() == [
        *("forget_Q_A_ROUGE", "0.38", "0.2", "+-", "0.04", "-0.18"),
        "rougeL_recall[tofu_forget10_rouge_all_chat-full]",
    ]
    assert alone.startswith("no counterpart: mia_gradnorm = 0.34: ")


def test_a_script_gets_json(run_dir, log, capsys):
    assert command(["import", str(run_dir), "--open-unlearning", str(log), "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    (beside,), (alone,) = held["beside"], held["without_counterpart"]
    assert (beside["name"], beside["value"], beside["our_value"]) == ("forget_Q_A_ROUGE", 0.38, 0.2)
    assert beside["difference"] == pytest.approx(-0.18)
    assert alone["name"] == "mia_gradnorm"


def test_nothing_in_common_says_so(run_dir, tmp_path, capsys):
    log = tmp_path / "MUSE_SUMMARY.json"
    log.write_text('{"forget_verbmem_ROUGE": 0.2}')
    assert command(["import", str(run_dir), "--open-unlearning", str(log)]) == 0
    assert "nothing of this run" in capsys.readouterr().out


def test_a_bad_file_a_bad_run_and_a_missing_option_are_usage_errors(run_dir, log, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    for words, said in (
        ([run_dir, "--open-unlearning", tmp_path / "bad.json"], "bad.json is no JSON"),
        ([run_dir, "--open-unlearning", run_dir], "cannot be read"),
        ([tmp_path / "none", "--open-unlearning", log], "none"),
        ([run_dir], "--open-unlearning"),
    ):
        assert command(["import", *map(str, words)]) == 4
        told = capsys.readouterr().err
        assert said in told
        assert "Traceback" not in told
