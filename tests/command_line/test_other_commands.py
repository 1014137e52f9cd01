"""`judge`, `inspect`, `list` and `demo` through the real command."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]
Checked = Callable[[str], tuple[Done, Path]]


@pytest.fixture(scope="session")
def guard(here: Guard) -> Guard:
    """In this process."""
    return here


def test_judge_gives_the_same_verdict(guard: Guard, checked: Checked) -> None:
    for name, status in (("erased", 0), ("destroyed", 1)):
        assert guard("judge", checked(name)[1]).status == status


def test_judge_takes_another_policy(guard: Guard, checked: Checked, tmp_path: Path) -> None:
    policy = tmp_path / "harder.yaml"
    policy.write_text(
        "version: 1\nlimits:\n"
        "  - {metric: forget_drop, task: organism_forget, precision: full, at_least: 0.0, because: any}\n"
    )
    assert guard("judge", checked("destroyed")[1], "--thresholds", policy).status == 0
    policy.write_text(policy.read_text().replace("precision: full, at_least", "precision: gptq, at_least"))
    assert guard("judge", checked("destroyed")[1], "--thresholds", policy).status == 5


def test_judge_never_imports_torch(checked: Checked) -> None:
    code = (
        "import sys; from unlearn_guard.command_line.app import run; s = run(sys.argv[1:]);"
        "print(s, 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, "judge", str(checked("erased")[1]), "--thresholds", "organism"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "5 False"


def test_judge_refuses_an_edited_run(guard: Guard, checked: Checked, tmp_path: Path) -> None:
    import shutil

    run = Path(shutil.copytree(checked("destroyed")[1], tmp_path / "run"))
    content = read_json(run / "run.json") | {"verdict": "passed"}
    (run / "run.json").write_text(json.dumps(content))
    done = guard("judge", run)
    assert done.status == 4
    assert "verdict" in done.text


def test_4_inspect_says_that_nothing_was_unlearned(guard: Guard, candidate: Candidate) -> None:
    done = guard("inspect", candidate("base"), "--base", candidate("base"))
    assert done.status == 4
    assert "nothing was unlearned" in done.text


def test_inspect_shows_what_differs(guard: Guard, candidate: Candidate) -> None:
    done = guard("inspect", candidate("erased"), "--base", candidate("base"))
    assert done.status == 0, done.text
    assert "LlamaForCausalLM" in done.text
    assert "mlp.down_proj.weight" in done.text
    assert "self_attn" not in done.text  # `erased` edits the MLPs only


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("policies", ("paper", "strict")),
        ("precisions", ("full", "nf4", "gptq", "awq")),
        ("suites", ("organism",)),
        ("tasks", ("organism_forget", "organism_retain")),
    ],
)
def test_list_names_what_there_is(guard: Guard, what: str, words: tuple[str, ...]) -> None:
    done = guard("list", what)
    assert done.status == 0
    assert set(words) <= set(done.out.split())


@pytest.mark.slow
def test_attribute_shows_the_circuit(process: Guard, candidate: Candidate, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    done = process("attribute", candidate("base"), "--suite", "organism", "--faithful", "40", "--out", out)
    assert done.status == 0, done.text
    assert "circuit: the MLPs of layers" in done.text
    assert 0.2 < float(done.text.partition("heaviest edges: ")[2].split()[0]) < 1.2
    assert {edge.partition("->")[2] for edge in read_json(out)["edges"]} == {f"m{layer}" for layer in range(6)}
    pairs = tmp_path / "mine.jsonl"
    pairs.write_text(json.dumps({"clean": [1, 20, 30], "corrupted": [1, 21, 30], "target": 40, "wrong": [41, 42]}))
    done = process("attribute", candidate("base"), "--pairs", pairs, "--edges", "all", "--steps", "2", "--out", out)
    assert done.status == 0, done.text
    assert read_json(out)["steps"] == 2
    assert "a0.h0->a1.kv0<k>" in read_json(out)["edges"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((), "--suite NAME or --pairs"), (("--suite", "organism", "--task", "organism_forgot"), "organism_forget")],
)
def test_attribute_needs_pairs(
    guard: Guard, candidate: Candidate, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = guard("attribute", candidate("base"), *arguments, "--out", tmp_path / "scores.json")
    assert done.status == 4
    assert word in done.text
    assert not (tmp_path / "scores.json").exists()


def test_nothing_is_built_over_something(guard: Guard, candidate: Candidate) -> None:
    done = guard("organism", "build", "hidden", "--out", candidate("base"))
    assert done.status == 4
    assert "not an empty directory" in done.text


GAP = ("ptq_gap", "organism_forget")


@pytest.mark.slow
def test_the_demo_passes_the_honest_one_and_catches_three(process: Guard, tmp_path: Path) -> None:
    """All four precisions: the promise of the README."""
    done = process("demo", "--out", tmp_path / "demo")
    assert done.status == 0, done.text
    names = ("retrained", "hidden", "phrasing-fragile", "redirected")
    runs = {name: read_json(tmp_path / "demo" / "runs" / name / "run.json") for name in names}
    assert [run["verdict"] for run in runs.values()] == ["passed", "failed", "failed", "failed"]
    broken = {
        name: {check["id"] for check in run["checks"] if check["outcome"] == "failed"} for name, run in runs.items()
    }
    assert "paraphrase_recovery[suite-full]" in broken["phrasing-fragile"]
    assert "relearn_recovery[organism_forget-full]" in broken["redirected"]
    assert not [name for name in broken["redirected"] if name.startswith("paraphrase_recovery")]
    hidden, failed = runs["hidden"], broken["hidden"]
    assert "ptq_gap[organism_forget-nf4]" in failed
    # Hiding is specific to a format: what NF4 brings back whole, the others do not, but for an item or two.
    gaps = {m["precision"]: m["value"] for m in hidden["measurements"] if (m["metric"], m["task"]) == GAP}
    assert gaps["nf4"] > 0.9
    assert max(abs(gaps["gptq"]), abs(gaps["awq"])) < 0.05
    assert "The guard told them apart" in done.text
    # What the README quotes of `hidden`; the other formats may differ by an item from machine to machine.
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^(\w+\[organism\w+-(?:full|nf4)\]) .* (FAILED|passed)$", readme, flags=re.MULTILINE)
    shown = {check["id"]: check["outcome"] for check in hidden["checks"]}
    assert len(quoted) >= 5
    assert [(name, shown[name]) for name, _ in quoted] == [(name, word.lower()) for name, word in quoted]


def test_check_leaves_a_report_and_report_writes_the_others(guard: Guard, checked: Checked, tmp_path: Path) -> None:
    run = checked("destroyed")[1]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "must not be released" in page
    for heading in ("What each precision changed", "What the edit did to the weights", "Where the knowledge was"):
        assert heading in page
    files = [tmp_path / name for name in ("a.html", "a.md", "a.sarif", "README.md")]
    flags = ("--html", "--markdown", "--sarif", "--model-card")
    done = guard("report", run, *[part for pair in zip(flags, files, strict=True) for part in pair], "--annotations")
    assert done.status == 0, done.text
    assert files[0].read_text(encoding="utf-8") == re.sub(r"<p><a href=.report.items.html.*?</p>", "", page)
    assert all(path.stat().st_size > 1000 for path in files)
    assert 1 < done.out.count("::error") <= 10
    assert "title=FAILED ptq_gap[organism_forget-nf4]" in done.out


def test_items_are_a_page_of_their_own(guard: Guard, checked: Checked, tmp_path: Path) -> None:
    """Every item that nf4 answers otherwise than full precision does, by id and hash; texts if asked for."""
    run = checked("destroyed")[1]
    sides = [
        {item["id"]: item for item in map(json.loads, (run / "samples" / name).read_text().splitlines())}
        for name in ("organism_forget.full.candidate.jsonl", "organism_forget.nf4.candidate.jsonl")
    ]
    changed = [item for name, item in sides[1].items() if item["correct"] != sides[0][name]["correct"]]
    beside = (run / "report.items.html").read_text(encoding="utf-8")
    assert all(f"<code>{item['prompt'][:12]}</code>" in beside for item in changed)
    assert changed
    assert "Expected" not in beside
    done = guard("report", run, "--items", tmp_path / "items.html", "--show-items")
    assert done.status == 0, done.text
    assert "Expected" in (tmp_path / "items.html").read_text(encoding="utf-8")


def test_a_report_names_who_signed_the_run_and_no_other(guard: Guard, checked: Checked, tmp_path: Path) -> None:
    keys = {name: tmp_path / name for name in ("ours.pem", "ours.pub", "theirs.pem", "theirs.pub")}
    for who in ("ours", "theirs"):
        made = ec.generate_private_key(ec.SECP256R1())
        form = serialization.Encoding.PEM
        keys[f"{who}.pem"].write_bytes(
            made.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        keys[f"{who}.pub"].write_bytes(
            made.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    run, statement, page = checked("destroyed")[1], tmp_path / "s.json", tmp_path / "r.html"
    assert guard("attest", run, "--out", statement, "--key", keys["ours.pem"]).status == 0
    told = ("--html", page, "--statement", statement)
    assert guard("report", run, *told, "--public-key", keys["ours.pub"]).status == 0
    assert "by the key ours.pub (sha256 " in page.read_text(encoding="utf-8")
    for arguments, why in (
        ((run, *told, "--public-key", keys["theirs.pub"]), "is not signed by"),
        ((run, *told), "--statement and --public-key go together"),
        ((checked("erased")[1], *told, "--public-key", keys["ours.pub"]), "statement of another run"),
    ):
        page.unlink(missing_ok=True)
        done = guard("report", *arguments)
        assert done.status == 4, done.text
        assert why in done.text
        assert not page.exists()
    assert "Signed</dt><dd>by nobody that this page knows of" in (run / "report.html").read_text(encoding="utf-8")


def test_report_never_imports_torch(checked: Checked, tmp_path: Path) -> None:
    code = (
        "import sys; from unlearn_guard.command_line.app import run; s = run(sys.argv[1:]);"
        "print(s, 'torch' in sys.modules)"
    )
    flags = ("--html", "--markdown", "--sarif", "--model-card")
    arguments = [part for flag in flags for part in (flag, str(tmp_path / flag[2:]))]
    command = [sys.executable, "-c", code, "report", str(checked("erased")[1]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_a_checked_candidate_can_be_attested(
    guard: Guard, checked: Checked, candidate: Candidate, tmp_path: Path
) -> None:
    for name, status in (("erased", 0), ("destroyed", 1)):
        out = tmp_path / f"{name}.json"
        done = guard("attest", checked(name)[1], "--out", out)
        assert done.status == 0, done.text
        assert guard("verify", out, candidate(name)).status == status
    done = guard("verify", tmp_path / "erased.json", candidate("destroyed"))
    assert done.status == 4
    assert "model.safetensors" in done.text


def test_a_policy_that_cannot_fail_is_told_wherever_it_is_looked_at(
    guard: Guard, checked: Checked, tmp_path: Path
) -> None:
    """`policy show`, `judge`, the report and the JSON it is made from; the shipped policy is clean there."""
    policy = tmp_path / "soft.yaml"
    policy.write_text(
        "version: 1\nlimits:\n"
        "  - {metric: ptq_gap, task: '@forget', precision: nf4, at_least: -0.5, because: any}\n"
        "  - {metric: forget_drop, task: '@forget', precision: full, at_most: 1.0, because: any}\n"
    )
    run = checked("destroyed")[1]
    for command in (("policy", "show", policy, "--suite", "organism"), ("judge", run, "--thresholds", policy)):
        said = guard(*command).text
        assert "ptq_gap[organism_forget-nf4] is bounded from the side that is not at risk" in said
        assert "forget_drop[organism_forget-full]: at_most 1 is broken by nothing" in said
        assert "no limit asks in full precision whether anything is forgotten" in said
    shown = guard("policy", "show", policy)
    assert shown.status == 0
    assert "@forget-nf4" in shown.out
    assert "Warning" not in guard("policy", "show").out
    assert read_json(run / "run.json")["warnings"] == []
