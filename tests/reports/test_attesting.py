"""Statements over real checkpoints: the bytes, the verdict, the signature."""

import hashlib
import json
from dataclasses import replace

import pytest
from edited_json import edited

from tests.oracles.made_evidence import VERDICTS, made_evidence
from tests.oracles.made_scores import made_run, made_scores
from unlearn_guard.errors import UsageError
from unlearn_guard.intake import file_digests
from unlearn_guard.reports.attestation import read_statement, statement
from unlearn_guard.reports.attesting import attest, verify


def test_a_statement_names_bytes_run_policy_and_tests(judged, candidate, out):
    run_dir = judged(scores=made_scores(forget_nf4=85))
    assert attest(run_dir, out) == (out,)
    held = json.loads(out.read_text())
    assert held["_type"] == "https://in-toto.io/Statement/v1"
    assert held["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    weights = hashlib.sha256((candidate / "model.safetensors").read_bytes()).hexdigest()
    assert {"name": "model.safetensors", "digest": {"sha256": weights}} in held["subject"]
    predicate = held["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", ["ptq_gap[forget_task-nf4]"])
    assert len(predicate["passedTests"]) == 2
    run = hashlib.sha256((run_dir / "run.json").read_bytes()).hexdigest()
    assert predicate["configuration"][0]["digest"] == {"sha256": run}


WEIGHTS = b"\x00\x01 not a text"


@pytest.mark.parametrize(
    "name",
    [
        *("pytorch_model.bin", "modeling_x.py", "original/consolidated.00.pth", "q/m.gguf", "consolidated.safetensors"),
        *("weights.dat", ".cache/model.safetensors", ".git/objects/ab", "README.md/model.safetensors", "notes.txt"),
        *(".cache/huggingface/model.safetensors", "onnx/model.onnx_data", "LICENSE"),
    ],
)
def test_what_was_not_judged_is_neither_attested_nor_verified(judged, candidate, out, name):
    run_dir = judged()
    attest(run_dir, out)
    (candidate / name).parent.mkdir(exist_ok=True, parents=True)
    (candidate / name).write_bytes(WEIGHTS)
    for call in (lambda: attest(run_dir, out.with_name("second.json")), lambda: verify(out, candidate)):
        with pytest.raises(UsageError, match="not judged") as caught:
            call()
        assert name in str(caught.value)
    assert not out.with_name("second.json").exists()


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE", "USE_POLICY.md", ".gitattributes", ".cache/huggingface/download/x.metadata"],
)
def test_small_texts_may_lie_beside_what_was_judged(judged, candidate, out, name):
    run_dir = judged()
    (candidate / name).parent.mkdir(exist_ok=True, parents=True)
    (candidate / name).write_text("a card")
    attest(run_dir, out)
    assert verify(out, candidate).verdict == "passed"
    assert name not in verify(out, candidate).files
    (candidate / name).write_bytes(b"a" * (2**20 + 1))
    with pytest.raises(UsageError, match="not judged"):
        verify(out, candidate)
    (candidate / name).unlink()
    (candidate / name).symlink_to(out)
    with pytest.raises(UsageError, match="not judged"):
        verify(out, candidate)


def test_a_run_that_names_no_files_is_not_attested(judged, candidate, out):
    run_dir = judged()
    edited(run_dir / "run.json", lambda held: held["candidate"].update(files={}))
    with pytest.raises(UsageError, match="does not say which files"):
        attest(run_dir, out)


def test_the_statement_is_in_toto_s_own():
    from google.protobuf import json_format
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
    from in_toto_attestation.v1 import resource_descriptor_pb2
    from in_toto_attestation.v1 import statement as in_toto

    made = statement(made_evidence(VERDICTS["failed"]()), {"a": "ab" * 32})
    subjects = [json_format.ParseDict(each, resource_descriptor_pb2.ResourceDescriptor()) for each in made["subject"]]
    in_toto.Statement(subjects, made["predicateType"], made["predicate"]).validate()
    parsed = json_format.ParseDict(made["predicate"], test_result_pb2.TestResult())
    assert (parsed.result, next(iter(parsed.failed_tests))) == ("FAILED", "ptq_gap[forget_task-nf4]")


@pytest.mark.parametrize(("name", "result"), [("passed", "PASSED"), ("failed", "FAILED"), ("incomplete", "FAILED")])
def test_only_a_pass_is_passed(name, result):
    run = VERDICTS[name]()
    run = replace(run, policy=replace(run.policy, digest="sha256:" + "cd" * 32))
    made = statement(made_evidence(run), {"a": "ab" * 32})
    assert made["predicate"]["result"] == result
    assert made["predicate"]["warnedTests"] == []
    assert read_statement(json.dumps(made).encode(), "x").verdict == run.verdict.word


def test_what_holds_on_part_of_the_items_is_a_warning_and_no_pass():
    made = statement(made_evidence(made_run(complete=False)[0]), {"a": "ab" * 32})["predicate"]
    assert (made["result"], made["passedTests"], len(made["warnedTests"])) == ("FAILED", [], 3)


def test_the_judged_bytes_verify_and_a_card_may_be_added(judged, candidate, out):
    attest(judged(), out)
    (candidate / "README.md").write_text("a card")
    claim = verify(out, candidate)
    assert (claim.verdict, "model.safetensors" in claim.files) == ("passed", True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda m: (m / "model.safetensors").write_bytes((m / "model.safetensors").read_bytes()[:-1] + b"\x01"),
            "model.saf",
        ),
        (lambda m: (m / "tokenizer.json").unlink(), "no such file"),
        (lambda m: (m / "adapter.safetensors").write_bytes(b"x"), "not judged"),
        (lambda m: ((m / "sub").mkdir(), (m / "sub" / "README.md").write_text("x")), "sub/README.md"),
    ],
)
def test_other_bytes_do_not_verify(judged, candidate, out, change, said):
    attest(judged(), out)
    change(candidate)
    with pytest.raises(UsageError, match=said):
        verify(out, candidate)


def test_a_candidate_that_changed_since_is_not_attested(judged, candidate, out):
    run_dir = judged()
    data = bytearray((candidate / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (candidate / "model.safetensors").write_bytes(data)
    with pytest.raises(UsageError, match=r"is not what .* judged"):
        attest(run_dir, out)
    assert not out.exists()


def test_a_run_that_lists_the_files_of_another_model_is_not_attested(judged, candidate, out):
    """Their digests are right; the measurements carry the digest of the model that was judged."""
    run_dir = judged()
    data = bytearray((candidate / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (candidate / "model.safetensors").write_bytes(data)
    edited(run_dir / "run.json", lambda r: r["candidate"].update(files=file_digests(candidate)))
    with pytest.raises(UsageError, match="lists the files of another model"):
        attest(run_dir, out)
    assert not out.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["predicate"].update(result="PASSED"),
        lambda s: s["predicate"].update(failedTests=[]),
        lambda s: s["predicate"].update(result="PASSED", failedTests=[]),
        lambda s: s["predicate"]["configuration"][0]["annotations"].update(verdict="passed"),
        lambda s: s["predicate"]["configuration"][0].pop("annotations"),
        lambda s: s["predicate"]["configuration"].pop(),
        lambda s: s["subject"].append(s["subject"][0]),
        lambda s: s["subject"].clear(),
        lambda s: s.update(predicateType="https://example.org/mine"),
        lambda s: s["subject"][0]["digest"].update(sha256="x"),
    ],
)
def test_a_statement_that_contradicts_itself_is_refused(judged, candidate, out, change):
    attest(judged(scores=made_scores(forget_nf4=85)), out)
    edited(out, change)
    with pytest.raises(UsageError, match="not a statement"):
        verify(out, candidate)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"_type": 1, "_type": 2}', "[" * 100_000])
def test_what_is_no_statement_says_so(candidate, out, text):
    out.write_text(text)
    with pytest.raises(UsageError, match="not a statement"):
        verify(out, candidate)


def test_a_signature_is_the_key_s(judged, candidate, out, keys):
    signature = out.with_name("statement.json.sig")
    assert attest(judged(), out, key=keys / "ours.pem") == (out, signature)
    assert verify(out, candidate, public_key=keys / "ours.pub").verdict == "passed"
    with pytest.raises(UsageError, match="is not signed by"):
        verify(out, candidate, public_key=keys / "theirs.pub")
    out.write_text(out.read_text() + " ")
    with pytest.raises(UsageError, match="is not signed by"):
        verify(out, candidate, public_key=keys / "ours.pub")
    signature.write_text("{}")
    with pytest.raises(UsageError, match="is not signed by"):
        verify(out, candidate, public_key=keys / "ours.pub")
    signature.unlink()
    with pytest.raises(UsageError, match="is not signed by"):
        verify(out, candidate, public_key=keys / "ours.pub")


def test_a_key_that_is_none_says_so(judged, out, keys):
    with pytest.raises(UsageError, match="cannot sign"):
        attest(judged(), out, key=keys / "ours.pub")


def test_the_command_s_status_is_the_verdict_s(judged, candidate, out, capsys):
    from unlearn_guard.command_line.app import run

    attest(judged(scores=made_scores(forget_nf4=85)), out)
    assert run(["verify", str(out), str(candidate)]) == 1
    assert "did not hold: ptq_gap[forget_task-nf4]" in capsys.readouterr().out
    assert run(["attest", str(judged()), "--out", str(out)]) == 0
    assert run(["verify", str(out), str(candidate)]) == 0
    (candidate / "config.json").write_text("{}")
    assert run(["verify", str(out), str(candidate)]) == 4
    assert "config.json" in capsys.readouterr().err
