import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracles.made_scores import BASE, CANDIDATE, made_limit, made_run
from tests.runs.edits import edited, refusal
from unlearn_guard.errors import RunDirectoryError, StorageError
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import Interval, Measurement
from unlearn_guard.runs.directory import clear, read_run, read_samples, write_run


def test_what_is_written_is_what_is_read(out):
    run, scores = made_run()
    assert write_run(run, scores, out) == out / "run.json"
    assert read_run(out) == run
    assert read_samples(out, "forget_task", "nf4", "candidate") == scores[2].samples


def test_warnings_are_written_and_read_and_may_be_absent_in_an_earlier_run(out):
    run, scores = made_run(warnings=("a bound that cannot fail",))
    write_run(run, scores, out)
    assert json.loads((out / "run.json").read_text())["warnings"] == ["a bound that cannot fail"]
    assert read_run(out).warnings == ("a bound that cannot fail",)
    edited(out, lambda content: content.pop("warnings"))
    assert read_run(out).warnings == ()


def test_keys_are_the_contract_s(written):
    content = json.loads((written / "run.json").read_text())
    assert content["schema"] == "unlearn-guard.run/1"
    assert content["verdict"] == "passed"
    assert {"suite", "policy", "base", "candidate", "checks", "measurements", "stages", "environment", "started",
            "seconds"} <= set(content)  # fmt: skip
    assert {"path", "digest"} <= set(content["policy"])
    assert {"path", "digest"} <= set(content["base"])
    assert content["candidate"]["method"] == "ga"
    check = content["checks"][1]
    assert set(check) >= {
        "id", "property", "metric", "task", "precision", "value", "stderr", "interval", "samples", "at_least",
        "at_most", "confidence", "margin", "outcome", "because",
    }  # fmt: skip
    assert (check["id"], check["property"]) == ("ptq_gap[forget_task-nf4]", "permanence")
    assert {"subject", "metric", "task", "precision", "value", "stderr", "samples"} <= set(content["measurements"][0])
    assert {"name", "precision", "seconds", "cached", "peak_bytes"} <= set(content["stages"][0])
    assert (written / "samples" / "forget_task.nf4.candidate.jsonl").is_file()
    line = json.loads((written / "samples" / "forget_task.full.base.jsonl").read_text().splitlines()[0])
    assert line == {"id": "0", "prompt": "p0", "target": "A", "loglikelihoods": [-1.0, -2.5], "correct": 1.0}


def test_a_check_has_its_measurement_s_error_and_every_file_its_digest(written):
    content = json.loads((written / "run.json").read_text())
    measured = {(each["metric"], each["task"], each["precision"]): each for each in content["measurements"]}
    checks = [(each, measured[each["metric"], each["task"], each["precision"]]) for each in content["checks"]]
    assert any(each["stderr"] for each, _ in checks)
    assert all(each["stderr"] == of["stderr"] for each, of in checks)
    assert content["files"].keys() == {f"samples/{path.name}" for path in (written / "samples").iterdir()}


def test_what_cannot_be_taken_away_is_said(written, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        clear(written)


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_run(*made_run(), tmp_path / name)
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*")) for n in ("a", "b")]
    assert files[0] == files[1]
    for path in files[0]:
        if (tmp_path / "a" / path).is_file():
            assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_failed_and_a_partial_run_come_back_as_they_were(out):
    for run, scores in (
        made_run(limits=(made_limit("forget_drop", at_least=0.99),)),
        made_run(limits=(made_limit("cad", at_least=0.8, confidence=0.99),)),
        made_run(complete=False),
    ):
        write_run(run, scores, out)
        assert read_run(out) == run


def test_a_limit_that_holds_by_noise_alone_is_read_back_as_not_established(out):
    """And without the corrected value the file contradicts itself."""
    run, scores = made_run()
    where = {"subject": run.candidate.digest, "precision": "full", "task": "forget_task", "samples": 50}
    found = Measurement(metric="cad", value=0.88, **where), Measurement(metric="cad_corrected", value=0.53, **where)
    limits = (made_limit("cad", at_least=0.8),)
    verdict = judge(limits, found, candidate=run.candidate.digest, complete=True)
    run = replace(run, policy=replace(run.policy, limits=limits), measurements=found, verdict=verdict)
    write_run(run, scores, out)
    assert read_run(out) == run
    assert read_run(out).verdict.word == "incomplete"
    content = json.loads((out / "run.json").read_text())
    content["measurements"].pop()
    (out / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunDirectoryError, match="margin"):
        read_run(out)


def test_an_earlier_run_is_replaced_whole(written):
    run, scores = made_run()
    write_run(run, scores[:2], written)
    assert len(list((written / "samples").iterdir())) == 2
    assert read_run(written) == run


finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(
    values=st.lists(finite, min_size=1, max_size=4),
    stderr=st.none() | st.floats(0, 1),
    interval=st.none() | st.tuples(finite, finite),
    notes=st.lists(words, max_size=3),
    bound=finite,
    confidence=st.sampled_from([None, 0.90, 0.95, 0.99]),
)
def test_any_run_comes_back(tmp_path, values, stderr, interval, notes, bound, confidence):
    run, _ = made_run()
    intervals = () if interval is None else (Interval(confidence=0.95, low=min(interval), high=max(interval)),)
    measurements = tuple(
        Measurement(
            subject=CANDIDATE, precision="nf4", task="t", metric=f"m{i}", value=value, samples=3, stderr=stderr,
            intervals=intervals, p_value=0.5,
        )
        for i, value in enumerate(values)
    )  # fmt: skip
    limits = tuple(
        made_limit(f"m{i}", task="t", precision="nf4", at_most=bound, confidence=confidence)
        for i in range(len(values) + 1)
    )
    run = replace(
        run,
        measurements=measurements,
        notes=tuple(notes),
        policy=replace(run.policy, limits=limits),
        verdict=judge(limits, measurements, candidate=CANDIDATE, complete=True),
    )
    write_run(run, [], tmp_path / "run")
    assert read_run(tmp_path / "run") == run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(verdict="failed"), "verdict"),
        (lambda c: c["checks"][0].update(outcome="failed"), "checks.0.outcome"),
        (lambda c: c["checks"][0].update(value=0.99), "checks.0.value"),
        (lambda c: c["checks"][0].update(margin=0.5), "checks.0.margin"),
        (lambda c: c["checks"][0].update(at_least=0.99), "checks.0.margin"),
        (lambda c: c["checks"][0].update(at_least=None), "checks.0"),
        (lambda c: c["checks"][0].update(id="x"), "checks.0.id"),
        (lambda c: c["checks"][0].update(interval=[0, 0]), "checks.0.interval"),
        (lambda c: c["checks"][0].update(at_least=True), "checks.0.at_least"),
        (lambda c: c["checks"][0].pop("because"), "checks.0.because"),
        (lambda c: c.update(checks=[]), "checks"),
        (lambda c: c["measurements"].append(c["measurements"][-1]), "second measurement"),
        (lambda c: c["measurements"][0].update(samples=0), "at least one sample"),
        (lambda c: c["measurements"][0].update(value="0.5"), "measurements.0.value"),
        (lambda c: c["tasks"][0].update(role="gone"), "tasks.0.role"),
        (lambda c: c.update(limit=10), "complete"),
        (lambda c: c.update(seconds=None), "seconds"),
        (lambda c: c.pop("environment"), "environment"),
        (lambda c: c["environment"].update(seed=-1), "seed -1 is negative"),
        (lambda c: c.update(schema="unlearn-guard.run/2"), "unlearn-guard.run/1"),
        (lambda c: c.update(files={"../../etc/passwd": {"sha256": "x", "lines": 1}}), "not a file of"),
        (lambda c: c.update(files={"samples/none.jsonl": {"sha256": "x", "lines": 1}}), "samples/none.jsonl"),
    ],
)
def test_an_edited_run_is_refused_by_field(written, change, said):
    assert said in refusal(edited(written, change))


def test_every_edit_is_named_at_once(written):
    def change(content):
        content["checks"][0]["outcome"] = "failed"
        content["checks"][2]["value"] = 0.0

    text = refusal(edited(written, change))
    assert "checks.0.outcome" in text
    assert "checks.2.value" in text


def test_more_keys_are_welcome(written):
    run = read_run(written)

    def change(content):
        content.update(attestation={"x": 1})
        content["checks"][0]["more"] = 1
        content["measurements"][0]["more"] = 1

    assert read_run(edited(written, change)) == run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "run.json"),
        (b"[]", "not an object"),
        (b"{", "run.json"),
        (b'{"schema": "unlearn-guard.run/1", "schema": "unlearn-guard.run/1"}', "twice"),
        (b'{"seconds": NaN}', "NaN"),
        (b'{"seconds": -Infinity}', "-Infinity"),
        (b'{"seconds": 1e999}', "infinite as a double"),
        (b"\xff", "utf-8"),
        (b"[" * 200_000, "nested"),
    ],
)
def test_what_is_not_strict_json_is_refused(written, text, said):
    (written / "run.json").write_bytes(text)
    assert said in refusal(written)


def test_edited_or_missing_answers_are_refused(written):
    path = written / "samples" / "forget_task.nf4.candidate.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"correct": 1.0', b'"correct": 0.0', 1))
    assert "forget_task.nf4.candidate.jsonl" in refusal(written)
    path.unlink()
    assert "forget_task.nf4.candidate.jsonl" in refusal(written)


def test_what_is_no_run_says_so(tmp_path, written):
    assert "not a run directory" in refusal(tmp_path)
    assert "not a run directory" in refusal(tmp_path / "none")
    (written / "run.json").unlink()
    assert "was not finished" in refusal(written)


def test_checks_must_be_the_policy_s_limits(out):
    run, scores = made_run()
    with pytest.raises(ValueError, match="limits"):
        write_run(replace(run, policy=replace(run.policy, limits=run.policy.limits[:1])), scores, out)
    assert BASE  # both sides are known by digest
    assert not out.exists()


def test_a_verdict_that_cannot_be_taken_away_ends_it(written, monkeypatch):
    def denied(self, *, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(StorageError, match="Permission denied"):
        clear(written)


def test_a_precision_with_a_slash_makes_no_folder():
    from unlearn_guard.runs.samples import file_name

    assert file_name("a/b", "mine/4", "base") == "samples/a%2Fb.mine%2F4.base.jsonl"
