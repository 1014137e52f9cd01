"""Runs that nobody bent open, whatever they hold, quickly and without torch."""

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest
from readers import ROOT

from tests.oracles.made_directory import forged
from tests.oracles.made_scores import (
    made_limit,
    made_run,
    made_score,
    made_scores,
    made_task,
)
from unlearn_guard.command_line.app import run as command
from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.judging.derive import dtype_gap
from unlearn_guard.judging.draft import read_draft
from unlearn_guard.records import Property
from unlearn_guard.reopening.run import open_run, read_run
from unlearn_guard.runs.directory import write_run


def test_an_honest_run_opens_and_names_what_is_taken_on_its_word(run_dir, capsys):
    held = open_run(run_dir)
    (note,) = held.run.notes[1:]
    assert "activation_shift_c" in note
    assert all(
        name in note for name in ("quantized_share", "update_to_bin", "truncated", "intervals of cad, as_c, as_nc")
    )
    assert "forget_drop" not in note
    assert held.answers["forget_task", "nf4", "candidate"][0].correct == 1.0
    assert command(["judge", str(run_dir)]) == 1
    assert "not derived anew" in " ".join(capsys.readouterr().out.split())
    assert command(["report", str(run_dir)]) == 0
    assert "not derived anew" in (run_dir / "report.html").read_text()


def test_the_edited_bytes_of_an_honest_run_are_still_its_own(run_dir):
    """The forger's tool of these tests changes nothing by itself: what is refused above is the bend."""
    before = json.loads((run_dir / "run.json").read_text())
    forged(run_dir, lambda _: None)
    assert json.loads((run_dir / "run.json").read_text()) == before


@pytest.mark.parametrize("text", ["\ufeffversion: 1\r\n", "version: 1\n"])
def test_a_policy_s_text_is_its_bytes(tmp_path, text):
    from unlearn_guard.judging.thresholds import read_policy

    text += "limits:\n  - {metric: forget_drop, task: '@forget', precision: full, at_least: 0.3, because: größer}\n"
    (tmp_path / "policy.yaml").write_bytes(text.encode())
    draft = read_policy(tmp_path / "policy.yaml")
    assert draft.text.encode() == (tmp_path / "policy.yaml").read_bytes()
    assert draft.digest == f"sha256:{sha256(text.encode()).hexdigest()}"
    assert read_draft(draft.text, name="x", digest="y").rules == draft.rules


def test_two_dtypes_that_gain_the_same_open_whichever_was_asked_first(tmp_path):
    scores = made_scores()
    others = [
        made_score(made_task(100), "1" * 20 + "1" * 5 + "0" * 75, precision="full-float16"),
        made_score(made_task(100), "0" * 5 + "1" * 15 + "1" * 10 + "0" * 70, precision="full-bfloat16"),
    ]
    for order in (others, others[::-1]):
        run, _ = made_run(scores=scores)
        run = replace(run, measurements=(*run.measurements, dtype_gap(scores[1], order, seed=0)))
        write_run(run, [*scores, *others], tmp_path / "run")
        assert read_run(tmp_path / "run").verdict.passed


def test_a_precision_of_a_plug_in_that_is_not_here_still_opens(tmp_path):
    scores = [replace_precision(each) for each in made_scores()]
    limits = (made_limit("ptq_gap", precision="theirs", guards=Property.PERMANENCE, at_most=0.0),)
    run, _ = made_run(limits=limits, scores=scores)
    assert run.policy.text
    write_run(run, scores, tmp_path / "run")
    assert read_run(tmp_path / "run").verdict.passed


def replace_precision(score):
    if score.precision == "full":
        return score
    return replace(score, precision="theirs", measurement=replace(score.measurement, precision="theirs"))


def test_a_run_of_an_earlier_release_says_what_to_do(tmp_path):
    run, scores = made_run()
    write_run(replace(run, policy=replace(run.policy, text="")), scores, tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="does not hold the text of its policy") as caught:
        read_run(tmp_path / "run")
    assert "Run the check again" in str(caught.value)


OPEN = """
import sys, time, resource
from pathlib import Path
from unlearn_guard.command_line.app import run
status = run(["judge", sys.argv[1]])
used = resource.getrusage(resource.RUSAGE_SELF)
print([name for name in ("torch", "scipy", "transformers", "lm_eval") if name in sys.modules])
print(int(status), used.ru_utime + used.ru_stime)
"""


def test_opening_takes_less_than_half_a_second_and_no_torch(run_dir):
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(run_dir)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *_, loaded, last = done.stdout.splitlines()
    status, seconds = last.split()
    assert (loaded, status) == ("[]", "1")
    assert float(seconds) < 0.5
