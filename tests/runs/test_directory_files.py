"""What a run directory lists, keeps, clears and leaves; and every field of a run, written and read."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracles.made_scores import made_run
from tests.runs.edits import edited, refusal
from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.records import Prompt
from unlearn_guard.runs import directory
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.claim import claim
from unlearn_guard.runs.directory import abandon, clear, open_run, read_run, read_samples, write_run


def test_what_is_written_lists_its_files_with_digest_and_lines(written):
    files = json.loads((written / "run.json").read_text())["files"]
    assert list(files) == sorted(files)
    held = (written / "samples" / "forget_task.full.base.jsonl").read_bytes()
    assert files["samples/forget_task.full.base.jsonl"] == {
        "sha256": f"sha256:{hashlib.sha256(held).hexdigest()}",
        "lines": 100,
    }


def test_what_earlier_stages_wrote_is_listed_and_stays(out):
    for name in ("attribution/forget_task.full.base.json", "weights/nf4.json"):
        write_bytes(out / name, b"{}\n")
    (out / "attribution" / "notes.txt").write_text("not ours")
    (out / ".unlearn-guard").touch()
    write_run(*made_run(), out)
    held = open_run(out)
    assert {"attribution/forget_task.full.base.json", "weights/nf4.json"} <= set(held.files)
    assert "attribution/notes.txt" not in held.files
    assert held.digest == f"sha256:{hashlib.sha256((out / 'run.json').read_bytes()).hexdigest()}"
    with claim(out):
        clear(out)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [".unlearn-guard", "notes.txt"]


@pytest.mark.parametrize("keep", ["attribution", "weights", "samples"])
def test_clear_keeps_what_it_is_told_to(written, keep):
    for name in ("attribution/a.json", "weights/nf4.json"):
        write_bytes(written / name, b"{}\n")
    (written / "report.html").touch()
    (written / "report.items.html").touch()
    clear(written, keep=(keep,))
    assert not (written / "run.json").exists()
    assert not [*written.glob("report.*")]
    left = {path.parent.name for path in written.glob("*/*")}
    assert left == {keep}


def test_a_refused_run_leaves_a_directory_that_was_not_there_before(tmp_path, written):
    with claim(tmp_path / "new"):
        abandon(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with claim(tmp_path / "new"):
        abandon(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with claim(tmp_path / "new"):
        (tmp_path / "new" / "libraries.log").touch()
        abandon(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with claim(tmp_path / "other"):
        (tmp_path / "other" / "libraries.log").touch()
        (tmp_path / "other" / "samples").mkdir()
        abandon(tmp_path / "other")
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == [".unlearn-guard", "samples"]
    (written / "libraries.log").touch()
    abandon(written)
    assert (written / "libraries.log").exists()
    assert read_run(written).verdict.passed


@pytest.mark.parametrize(
    "name", ["samples", "samples/", "samples/a/b.jsonl", "samples/.hidden.jsonl", "other/a.jsonl", "run.json"]
)
def test_only_files_of_a_run_s_folders_are_listed(written, name):
    text = refusal(edited(written, lambda c: c.update(files={name: {"sha256": "x", "lines": 1}})))
    assert f"{name!r} is not a file of samples/, attribution/, weights/" in text


def test_every_file_at_fault_is_named_at_once(written):
    files = {"other/a.jsonl": "x", "samples/none.jsonl": "x", "samples/forget_task.full.base.jsonl": "sha256:x"}
    text = refusal(edited(written, lambda c: c.update(files={n: {"sha256": d, "lines": 1} for n, d in files.items()})))
    assert all(name in text for name in files)
    assert "samples/none.jsonl: found No such file" in text


def test_a_run_json_that_is_too_large_is_not_read(written, monkeypatch):
    size = (written / "run.json").stat().st_size
    monkeypatch.setattr(directory, "MAX_BYTES", size)
    assert read_run(written).verdict.passed
    monkeypatch.setattr(directory, "MAX_BYTES", size - 1)
    assert f"more than {size - 1} bytes" in refusal(written)


def test_answers_that_cannot_be_read_are_refused_by_file(written):
    with pytest.raises(RunDirectoryError, match=r"forget_task\.gptq\.candidate\.jsonl: found No such file"):
        read_samples(written, "forget_task", "gptq", "candidate")
    (written / "samples" / "forget_task.nf4.candidate.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(RunDirectoryError, match="line 1: id: 1 is not text"):
        read_samples(written, "forget_task", "nf4", "candidate")


def test_a_retrained_model_s_answers_have_a_side_of_their_own(out):
    run, scores = made_run()
    retrained = replace(run.base, digest="sha256:retrained", path=Path("retrained"))
    theirs = replace(scores[0], subject="sha256:retrained")
    write_run(replace(run, retrained=retrained), [*scores, theirs], out)
    assert read_run(out).retrained == retrained
    assert read_samples(out, "forget_task", "full", "retrained") == theirs.samples


def test_everything_of_a_run_comes_back(out):
    """Each field with a value of its own, so that none can stand in for another."""
    run, scores = made_run(
        warnings=("a warning",),
        prompts=(Prompt(task="forget_task", few_shot=2, chat_template=False, tokens=(1, 2)),),
        limit=None,
    )
    assert len({*run.warnings, *run.notes, run.suite, run.started}) == 4
    write_run(run, scores, out)
    assert read_run(out) == run
    content = json.loads((out / "run.json").read_text())
    assert (content["limit"], content["complete"], content["retrained"]) == (None, True, None)
    check = content["checks"][0]
    assert (check["line"], check["because"], check["samples"]) == (run.policy.limits[0].line, "a test", 100)
    shown = run.verdict.checks[0].measurement.interval(0.95)
    assert (check["confidence"], check["interval"]) == (None, [shown.low, shown.high])
