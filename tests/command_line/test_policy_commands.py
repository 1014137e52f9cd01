"""`policy show`, `diff` and `seal`, `list` and the JSON of each: what a rule is, and that it came first."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done, read_json

from tests.quiz import limits, write_tasks
from unlearn_guard.judging.thresholds import list_policies, policy_file, read_policy

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]


@pytest.mark.parametrize("name", list_policies())
def test_a_shown_policy_is_its_own_file(here: Guard, name: str) -> None:
    done = here("policy", "show", name)
    assert done.status == 0
    assert done.out == policy_file(name).read_text(encoding="utf-8")


def test_what_a_policy_cannot_tell_is_a_comment_of_what_is_shown(here: Guard, tmp_path: Path) -> None:
    soft = tmp_path / "soft.yaml"
    soft.write_text("version: 1\nlimits: [{metric: forget_drop, task: t, precision: full, at_least: 0.3, because: x}]")
    shown = here("policy", "show", soft).out
    assert "# Warning: policy: no limit at a quantized precision" in shown
    soft.write_text(shown)
    assert len(read_policy(soft).rules) == 1


RULE = "  - {{metric: {}, task: '@forget', precision: {}, {}, because: {}}}\n"


def write(path: Path, *rules: tuple[str, str, str], because: str = "a") -> Path:
    path.write_text("version: 1\nlimits:\n" + "".join(RULE.format(*rule, because) for rule in rules))
    return path


def test_a_loosened_policy_is_told(here: Guard, tmp_path: Path) -> None:
    before = write(
        tmp_path / "a.yaml",
        ("forget_drop", "[full, nf4]", "at_least: 0.3"),
        ("ptq_gap", "nf4", "at_most: 0.0"),
        ("cad", "full", "at_least: 0.8"),
        ("as_nc", "full", "at_most: 0.3"),
    )
    after = write(
        tmp_path / "b.yaml",
        ("forget_drop", "full", "at_least: 0.2"),
        ("ptq_gap", "nf4", "at_most: 0.0"),
        ("cad", "full", "at_least: 0.7, confidence: 0.95"),
        ("as_nc", "full", "at_most: 0.2"),
        ("ptq_gap", "gptq", "at_most: 0.0"),
        because="b",
    )
    done = here("policy", "diff", before, after)
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0] == "loosened  forget_drop[@forget-full]: >= 0.3 -> >= 0.2"
    assert lines[1].strip() == "because: b"
    assert "removed   forget_drop[@forget-nf4]: >= 0.3 -> no limit" in lines
    assert "moved     cad[@forget-full]: >= 0.8 -> >= 0.7 (95 %)" in lines
    assert "tightened as_nc[@forget-full]: <= 0.3 -> <= 0.2" in lines
    assert "added     ptq_gap[@forget-gptq]: no limit -> <= 0.0" in lines
    assert lines[-1].startswith("3 of 5 changed limits let through what")
    told = json.loads(here("policy", "diff", before, after, "--json").out)
    assert [each["id"] for each in told["limits"] if each["admits_more"]] == [
        "forget_drop[@forget-full]",
        "forget_drop[@forget-nf4]",
        "cad[@forget-full]",
    ]
    assert here("policy", "diff", before, before).out == "the same limits: 5\n"


def test_with_a_suite_a_rule_for_all_and_one_by_name_are_the_same(here: Guard, tmp_path: Path) -> None:
    one = write(tmp_path / "a.yaml", ("ptq_gap", "nf4", "at_most: 0.0"))
    other = tmp_path / "b.yaml"
    other.write_text(one.read_text().replace("'@forget'", "organism_forget"))
    assert "removed" in here("policy", "diff", one, other).out
    assert (
        "removed   ptq_gap[organism_forget_plain-nf4]" in here("policy", "diff", one, other, "--suite", "organism").out
    )


def test_a_seal_holds_check_to_its_rule(here: Guard, candidate: Candidate, policy: Path, tmp_path: Path) -> None:
    seal = tmp_path / "seal.json"
    done = here("policy", "seal", policy, "--suite", "organism", "--out", seal)
    assert done.status == 0, done.text
    held = read_json(seal)
    assert held["policy"] == read_policy(policy).digest
    assert here("policy", "seal", policy, "--suite", "organism", "--out", seal).status == 4, "a seal is made once"
    common = ("check", candidate("destroyed"), "--base", candidate("base"), "--suite", "organism", "--seal", seal)
    passed = here(*common, "--thresholds", policy, "--out", tmp_path / "run")
    assert passed.status == 1, passed.text
    assert any(str(seal) in note for note in read_json(tmp_path / "run" / "run.json")["notes"])
    looser = tmp_path / "looser.yaml"
    looser.write_text(policy.read_text() + "\n")
    for words, what in (
        (("--thresholds", looser), "policy: found"),
        (("--thresholds", policy, "--seed", "1"), "seed: found 1"),
        (("--thresholds", policy, "--limit", "3"), "items: found the first 3"),
    ):
        refused = here(*common, *words, "--out", tmp_path / "other")
        assert refused.status == 4, refused.text
        assert what in refused.text
    held["tasks"][0]["digest"] = "0" * 64
    seal.write_text(json.dumps(held))
    refused = here(*common, "--thresholds", policy, "--out", tmp_path / "other")
    assert refused.status == 4, refused.text
    assert f"task {held['tasks'][0]['name']}" in refused.text
    assert not (tmp_path / "other" / "run.json").exists()


def test_a_reader_that_stops_is_no_fault_of_ours(environment: dict[str, str]) -> None:
    """`| head`: one line, and neither a traceback nor a status that means a verdict."""
    end, begin = os.pipe()
    os.close(end)
    words = [sys.executable, "-m", "unlearn_guard", "list", "suites"]
    done = subprocess.run(words, env=environment, stdout=begin, stderr=subprocess.PIPE, text=True, check=False)
    os.close(begin)
    assert done.returncode == 3
    assert done.stderr.startswith("error: whoever read the output stopped")
    assert done.stderr.count("\n") == 1


def test_check_tells_a_script_what_the_run_holds(
    here: Guard, candidate: Candidate, policy: Path, checked: Callable[[str], tuple[Done, Path]], tmp_path: Path
) -> None:
    """Standard output is one JSON value, with the status that the command ends with; a refusal writes none."""
    checked("destroyed")
    done = here("check", candidate("destroyed"), "--thresholds", policy, "--out", tmp_path / "run", "--json")
    told = json.loads(done.out)
    assert (done.status, told["status"], told["verdict"]) == (1, 1, "failed")
    assert told["directory"] == str(tmp_path / "run")
    held = read_json(tmp_path / "run" / "run.json")
    assert {key: told[key] for key in held if key in told and key != "files"} == {
        key: held[key] for key in held if key in told and key != "files"
    }
    assert {"checks", "measurements", "policy", "candidate"} <= {*told}
    refused = here("check", tmp_path / "nowhere", "--json")
    assert (refused.status, refused.out) == (4, "")
    assert "nowhere" in refused.err


def test_a_seal_is_of_what_check_asks_in_the_words_of_base(here: Guard, candidate: Candidate, tmp_path: Path) -> None:
    """Tasks that ask in base's chat template: no seal without base, and with it one that `check` holds to."""
    rows = [{"question": f"Which is {letter}?", "choices": ["a", "b"], "answer": 0} for letter in "abcd"]
    write_tasks(tmp_path / "tasks", "quiz", forget=rows, retain=rows)
    for task in (tmp_path / "tasks" / "quiz").glob("*.yaml"):
        task.write_text(task.read_text() + "metadata: {chat_template: true}\n")
    suite = tmp_path / "tasks" / "quiz.yaml"
    suite.write_text(suite.read_text().replace("chance: 0.25", "chance: 0.5"))
    policy = tmp_path / "p.yaml"
    policy.write_text(limits("forget_drop", precisions=("full",)))
    sides = [Path(shutil.copytree(candidate(name), tmp_path / name)) for name in ("base", "destroyed")]
    for each in sides:
        config = read_json(each / "tokenizer_config.json")
        config["chat_template"] = "{% for m in messages %}Q {{ m['content'] }} A{% endfor %}"
        (each / "tokenizer_config.json").write_text(json.dumps(config))
    asked = ("--suite", "quiz", "--tasks-dir", tmp_path / "tasks")
    sealing = ("policy", "seal", policy, *asked, "--out")
    refused = here(*sealing, tmp_path / "bare.json")
    assert refused.status == 4, refused.text
    assert "quiz_forget, quiz_retain: asked in base's own words" in refused.text
    assert "Give --base PATH" in refused.text
    assert not (tmp_path / "bare.json").exists()
    assert "Give --base PATH" in here(*sealing, tmp_path / "bare.json", "--apply-chat-template").text
    for number, template in enumerate(([], ["--apply-chat-template"])):
        seal = tmp_path / f"seal{number}.json"
        assert here(*sealing, seal, "--base", sides[0], *template).status == 0
        check = ("check", sides[1], "--base", sides[0], *asked, "--thresholds", policy, "--precisions", "full")
        done = here(*check, "--seal", seal, "--out", tmp_path / f"run{number}", *template)
        assert "score base" in done.err, done.text  # what comes once the questions are those that were sealed
        assert "is not what the seal" not in done.text


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": "unlearn-guard.seal/1", "schema": 1}', "\ud800"])
def test_what_is_no_seal_is_refused(here: Guard, candidate: Candidate, tmp_path: Path, text: str) -> None:
    (tmp_path / "seal.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    done = here("check", candidate("erased"), "--seal", "seal.json", cwd=tmp_path)
    assert done.status == 4, done.text
    assert "seal.json is not a seal" in done.text


def test_lists_tell_apart_what_they_name(here: Guard) -> None:
    policies = here("list", "policies").out
    assert "established at 95 %" in policies
    precisions = here("list", "precisions").out
    assert "unlearn_guard." not in precisions, "an import path says nothing to a user"
    assert "4 bits, bitsandbytes" in precisions
    tasks = here("list", "tasks").out
    assert {"wmdp_bio_300", "mmlu_all", "organism_forget"} <= set(tasks.split())


@pytest.mark.parametrize("what", ["methods", "policies", "precisions", "suites", "tasks"])
def test_lists_as_json(here: Guard, what: str) -> None:
    rows = json.loads(here("list", what, "--json").out)
    assert len(rows) > 2
    assert all(row["name"] and row["about"] for row in rows)


def test_results_as_json(here: Guard, candidate: Candidate, checked: Callable[[str], tuple[Done, Path]]) -> None:
    _, run = checked("destroyed")
    judged = here("judge", run, "--json")
    told = json.loads(judged.out)
    assert (judged.status, told["status"], told["verdict"]) == (1, 1, "failed")
    assert told["checks"] == read_json(run / "run.json")["checks"]
    looked = json.loads(here("inspect", candidate("erased"), "--base", candidate("base"), "--json").out)
    assert len(looked["digest"]) == 64
    assert all("mlp" in each["tensor"] for each in looked["changed"])


def test_what_inspect_says_in_a_pipe_is_whole(here: Guard, candidate: Candidate) -> None:
    text = here("inspect", candidate("erased"), "--base", candidate("base"), COLUMNS="40").out
    assert [len(line.split()[-1]) for line in text.splitlines() if line.startswith("digest ")] == [64]


def test_judge_does_not_print_times_of_what_it_did_not_do(
    here: Guard, checked: Callable[[str], tuple[Done, Path]]
) -> None:
    done, run = checked("destroyed")
    assert len(done.out.splitlines()) < 70, "a result fits a screen or two"
    assert f"Report: {run / 'report.html'}" in done.out
    long = here("judge", run, "--verbose").out
    assert "Scores" in long
    assert "seconds" not in long
    short = here("judge", run).out
    assert "Scores" not in short


def test_plan_says_how_many_items_a_policy_needs(here: Guard, tmp_path: Path) -> None:
    policy = write(
        tmp_path / "gap.yaml",
        ("ptq_gap", "[nf4, gptq, awq]", "at_most: 0.05, confidence: 0.95"),
        ("above_chance_removed", "full", "at_least: 0.5, at_most: 1.1, confidence: 0.95"),
    )
    done = here("plan", "--power", "--suites", "organism", "--thresholds", policy)
    assert done.status == 0
    # the gap alone: 10.507 * .14 / .05^2; what is removed alone: 10.507 * .1875 / .5625 / .1^2
    assert {"589", "351"} <= set(done.out.split())
    assert "organism_forget asks 160 items and needs" in done.text
    fewer = here("plan", "--power", "--suites", "organism", "--thresholds", policy, "--discordance", "0.05")
    assert "379" in fewer.out.split()  # of the twin's .10 at least so many differ: 10.507 * (.1 - .01) / .05^2
    full = here("plan", "--power", "--suites", "organism", "--thresholds", policy, "--precisions", "full")
    assert "ptq_gap" not in full.out


def test_plan_says_what_no_number_of_items_decides(here: Guard) -> None:
    done = here("plan", "--power", "--suites", "organism", "--thresholds", "paper")
    assert "ptq_gap[organism_forget-nf4]" in done.text
    assert "passes in half of all runs, however many items" in done.text


def test_plan_without_power_needs_what_compare_needs(here: Guard, tmp_path: Path) -> None:
    done = here("plan", "--suites", "organism", "--out", tmp_path)
    assert done.status == 4
    assert "--methods, --base; without them: plan --power" in done.text
    weak = here("plan", "--power", "--suites", "organism", "--thresholds", "paper", "--base-score", "0.2")
    assert weak.status == 4
    assert "--base-score" in weak.text


def test_the_policy_for_a_release_ships_and_says_what_it_changes(here: Guard) -> None:
    assert "release" in here("list", "policies").out
    done = here("policy", "diff", "paper", "release", "--suite", "organism")
    assert done.status == 0
    lines = done.out.splitlines()
    assert (
        "loosened  ptq_gap[organism_forget-nf4]: <= 0.0 -> <= 0.02 (95 %)" not in lines
    )  # the interval asks more, too
    assert any(line.startswith("moved     ptq_gap[organism_forget-nf4]: <= 0.0 -> <= 0.02 (95 %)") for line in lines)
    assert any(line.startswith("added     relearn_recovery[organism_forget-full]") for line in lines)
    assert any(line.startswith("removed   cad[organism_forget-full]") for line in lines)
