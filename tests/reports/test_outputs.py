"""What `report --github-output` writes: a verified verdict and its digests, one line each."""

import hashlib
from dataclasses import replace

import pytest

from tests.oracles.made_scores import CANDIDATE, made_run, made_scores
from unlearn_guard.command_line.app import run
from unlearn_guard.errors import ExitStatus, RunDirectoryError
from unlearn_guard.reports.outputs import outputs
from unlearn_guard.runs.directory import write_run


@pytest.mark.parametrize(
    ("scores", "verdict", "status"),
    [
        (made_scores(), "passed", 0),
        (made_scores(forget_nf4=85), "failed", 1),
        ([each for each in made_scores() if each.precision == "full"], "incomplete", 5),
    ],
)
def test_verdict_status_and_digests_are_appended(tmp_path, scores, verdict, status):
    write_run(*made_run(scores=scores), tmp_path / "run")
    file = tmp_path / "output"
    file.write_text("before=1\n")
    assert run(["report", str(tmp_path / "run"), "--github-output", str(file)]) == 0
    digest = hashlib.sha256((tmp_path / "run" / "run.json").read_bytes()).hexdigest()
    assert file.read_text().splitlines() == [
        "before=1",
        f"verdict={verdict}",
        f"status={status}",
        f"digest={CANDIDATE}",
        f"run-digest=sha256:{digest}",
    ]
    assert not (tmp_path / "run" / "report.html").exists()


def test_of_an_edited_run_nothing_is_said(tmp_path, capsys):
    write_run(*made_run(scores=made_scores(forget_nf4=85)), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    assert run(["report", str(tmp_path / "run"), "--github-output", str(tmp_path / "output")]) == 4
    assert not (tmp_path / "output").exists()
    capsys.readouterr()


@pytest.mark.parametrize("digest", ["sha256:x\nverdict=passed", "x\u2028verdict=passed", "", "a b", "x" * 201])
def test_a_digest_that_could_be_another_output_is_refused(digest):
    made, _ = made_run()
    odd = replace(made, candidate=replace(made.candidate, digest=digest))
    with pytest.raises(RunDirectoryError, match="digest"):
        outputs(odd, "sha256:x", ExitStatus.PASSED)
    with pytest.raises(RunDirectoryError, match="digest"):
        outputs(made, digest, ExitStatus.PASSED)
