"""From a run directory to reports: what is read, what is refused, and what it costs."""

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.oracles.made_evidence import LIMITS, made_drift, wide_evidence
from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.attribution.scores import ItemScores, write_scores
from unlearn_guard.errors import GuardError, RunDirectoryError, UsageError
from unlearn_guard.records import Property
from unlearn_guard.reports.rendering import Reports, read_evidence, write_report, write_reports
from unlearn_guard.runs.directory import read_run, write_run
from unlearn_guard.runs.drift_file import write_drift


@pytest.fixture
def run_dir(tmp_path):
    """A failed run with edge scores and weight counts beside it."""
    out = tmp_path / "run"
    run, scores = made_run(limits=LIMITS, scores=made_scores(forget_nf4=25))
    edges = ItemScores(
        edges=("input->m0", "m0->m1"),
        scores_NE=np.array([[1.0, -0.5]], dtype=np.float32),
        clean_N=np.array([1.0]),
        corrupted_N=np.array([0.0]),
        steps=5,
    )
    for precision, side, subject in (("full", "base", BASE), ("full", "candidate", CANDIDATE)):
        (out / "attribution").mkdir(parents=True, exist_ok=True)
        write_scores(
            out / "attribution" / f"forget_task.{precision}.{side}.json", edges, subject=subject, task="forget_task"
        )
    write_drift(out / "weights", made_drift(), base=BASE, candidate=CANDIDATE)
    (out / ".unlearn-guard").touch()
    write_run(run, scores, out)
    return out


def test_evidence_is_what_the_directory_holds(run_dir):
    found = read_evidence(run_dir)
    (flips,) = found.flips
    # 20 of 100 in full precision, 25 at nf4; the made answers are right from the first on.
    assert (flips.task, flips.precision) == ("forget_task", "nf4")
    assert [item.prompt for item in flips.back] == [f"p{index}" for index in range(20, 25)]
    assert (flips.lost, flips.right, flips.wrong) == ((), 20, 75)
    assert [(each.side, each.by_layer) for each in found.masses] == [
        ("base", ((0, 1.0), (1, 0.5))),
        ("candidate", ((0, 1.0), (1, 0.5))),
    ]
    assert found.drift == made_drift()
    assert found.digest.startswith("sha256:")


def test_items_carry_no_text_unless_asked_for(run_dir):
    assert {item.target for item in read_evidence(run_dir).flips[0].back} == {""}
    assert {item.target for item in read_evidence(run_dir, items=True).flips[0].back} == {"A"}


def test_what_came_back_and_what_was_lost_are_told_apart(tmp_path):
    task = made_task(4)
    scores = (
        made_score(task, ones(4, 4), BASE),
        made_score(task, "1100"),
        made_score(task, "0110", precision="nf4"),
    )
    run, _ = made_run(limits=LIMITS[:1], scores=scores)
    write_run(run, scores, tmp_path / "run")
    (flips,) = read_evidence(tmp_path / "run").flips
    assert ([i.prompt for i in flips.back], [i.prompt for i in flips.lost]) == (["p2"], ["p0"])
    assert (flips.right, flips.wrong) == (1, 1)


@pytest.mark.parametrize("name", ["attribution/forget_task.full.base.json", "weights/nf4.json"])
def test_an_edited_file_beside_the_run_is_refused(run_dir, name):
    path = run_dir / name
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6").replace(b"100", b"101"))
    with pytest.raises(RunDirectoryError, match=name):
        read_evidence(run_dir)
    with pytest.raises(RunDirectoryError, match=name):
        read_run(run_dir)  # and so by `judge`


def test_a_file_that_the_run_does_not_list_is_not_read(run_dir):
    (run_dir / "attribution" / "zz.full.base.json").write_text("not even JSON")
    assert len(read_evidence(run_dir).masses) == 2


def test_counts_of_other_models_are_refused(run_dir, tmp_path):
    out = tmp_path / "other"
    write_drift(out / "weights", made_drift(), base="sha256:other", candidate=CANDIDATE)
    (out / ".unlearn-guard").touch()
    run, scores = made_run()
    write_run(run, scores, out)
    with pytest.raises(RunDirectoryError, match="sha256:other"):
        read_evidence(out)


def test_a_run_measured_anew_has_no_old_report(run_dir):
    write_report(run_dir)
    assert (run_dir / "report.html").is_file()
    run, scores = made_run()
    write_run(run, scores, run_dir)
    assert not (run_dir / "report.html").exists()


def test_every_report_comes_from_one_call(run_dir, tmp_path):
    asked = Reports(
        html=tmp_path / "a.html",
        items=tmp_path / "b.html",
        markdown=tmp_path / "a.md",
        sarif=tmp_path / "a.sarif",
        model_card=tmp_path / "README.md",
    )
    files = (asked.html, asked.items, asked.markdown, asked.sarif, asked.model_card)
    assert write_reports(run_dir, asked) == files
    assert all(path.stat().st_size > 500 for path in files)
    assert "<a " not in asked.html.read_text() + asked.items.read_text()
    beside = (run_dir / "report.html", run_dir / "report.items.html")
    assert write_reports(run_dir, Reports()) == beside
    assert [
        f'href="{name}"' in path.read_text()
        for name, path in zip(("report.items.html", "report.html"), beside, strict=True)
    ] == [True, True]


def test_part_of_the_items_is_no_score_for_a_model_card(tmp_path):
    run, scores = made_run(complete=False)
    write_run(run, scores, tmp_path / "run")
    with pytest.raises(UsageError, match="asked only part of the items"):
        write_reports(tmp_path / "run", Reports(model_card=tmp_path / "README.md"))
    assert not (tmp_path / "README.md").exists()


def test_a_model_card_keeps_what_it_holds(run_dir, tmp_path):
    from huggingface_hub import ModelCard

    path = tmp_path / "README.md"
    path.write_text("---\nlicense: apache-2.0\ntags: [a, b]\n---\n\n# My model\n\nText.\n")
    asked = Reports(model_card=path, benchmarks={"forget_task": "org/benchmark:forget"})
    assert write_reports(run_dir, asked) == (path, tmp_path / ".eval_results" / "unlearn-guard.yaml")
    card = ModelCard.load(path)
    assert card.data.license == "apache-2.0"
    assert card.data.tags == ["a", "b"]
    assert "# My model\n\nText.\n" in path.read_text()
    rows = [each for each in card.data.eval_results if each.dataset_name == "forget_task"]
    assert [(each.metric_name, each.metric_value) for each in rows] == [("acc (full)", 0.2), ("acc (nf4)", 0.25)]
    assert {each.metric_args["run"] for each in rows} == {read_evidence(run_dir).digest}
    write_reports(run_dir, asked)  # again: replaced, not doubled
    assert len(ModelCard.load(path).data.eval_results) == 3


@pytest.mark.parametrize(
    ("card", "benchmarks", "said"),
    [
        ("---\na: [\n---\n", {}, "front matter"),
        ("", {"forget_tusk": "org/x:y"}, "Did you mean forget_task"),
        ("", {"forget_task": "x"}, "ORG/DATASET:TASK_ID"),
    ],
)
def test_a_model_card_that_cannot_be_written_is_left_alone(run_dir, tmp_path, card, benchmarks, said):
    path = tmp_path / "README.md"
    path.write_text(card)
    with pytest.raises(UsageError, match=said) as error:
        write_reports(run_dir, Reports(model_card=path, benchmarks=benchmarks))
    assert isinstance(error.value, GuardError)
    assert path.read_text() == card


@pytest.mark.slow
def test_twenty_suites_at_six_precisions_take_less_than_two_seconds(tmp_path):
    """The whole command, in a process of its own, from a run directory of 240 scores of 200 answers."""
    run, scores = _wide_run()
    write_run(run, scores, tmp_path / "run")
    command = [sys.executable, "-m", "unlearn_guard", "report", str(tmp_path / "run")]
    command += ["--html", "a.html", "--markdown", "a.md", "--sarif", "a.sarif"]
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[2])})
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime  # of its own: others may use the machine
    assert (tmp_path / "a.html").stat().st_size < 2_000_000
    assert (tmp_path / "a.md").stat().st_size < 65_536
    assert len(json.loads((tmp_path / "a.sarif").read_text())["runs"][0]["tool"]["driver"]["rules"]) == 340
    assert seconds < 2


def _wide_run():
    """The tasks of `wide_evidence`, with answers; derived once, so that every number is the answers' own."""
    precisions = ("full", "nf4", "gptq", "awq", "fp8", "int8")
    scores = [
        made_score(replace(task, items=200), ones(150 if subject == BASE else 50, 200), subject, precision)
        for task in wide_evidence().run.tasks
        for precision in precisions
        for subject in (BASE, CANDIDATE)
    ]
    limits = [
        made_limit(
            metric,
            task=task.name,
            precision=precision,
            at_least=0.5,
            guards=Property.RETENTION
            if task.role == "retain"
            else Property.FORGETTING
            if precision == "full"
            else Property.PERMANENCE,
        )
        for task in dict.fromkeys(score.task for score in scores)
        for precision in precisions
        for metric in (("retain_drop",) if task.role == "retain" else ("forget_drop", "ptq_gap"))
        if (metric, precision) != ("ptq_gap", "full")
    ]
    return made_run(limits=limits, scores=scores)
