"""`init suite` and `suite check` through the real command: what is written, told and refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done

from unlearn_guard.resources import bundled

Guard = Callable[..., Done]


def questions(role: str, count: int) -> str:
    lines = (bundled("tasks") / "organism" / f"{role}.jsonl").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines[:count])


@pytest.fixture(scope="session")
def guard(here: Guard) -> Guard:
    """In this process."""
    return here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with 100 questions of each kind."""
    (tmp_path / "forget.jsonl").write_text(questions("forget", 100))
    (tmp_path / "keep.jsonl").write_text(questions("retain", 100))
    return tmp_path


INIT = ("init", "suite", "ours", "--from", "forget.jsonl", "--retain", "keep.jsonl", "--about", "islanders")


def test_what_is_written_is_found_by_the_commands_that_are_printed(guard: Guard, folder: Path) -> None:
    done = guard(*INIT, cwd=folder)
    assert done.status == 0, done.text
    assert "100 questions to forget, 100 to keep" in done.out
    assert "left out: id" in done.out
    next_ones = [line.removeprefix("next:").strip() for line in done.out.splitlines() if "unlearn-guard " in line]
    assert [line.split()[1] for line in next_ones] == ["suite", "unlearn", "check"]
    assert all("--tasks-dir suites" in line for line in next_ones)
    listed = guard("list", "tasks", "--tasks-dir", "suites", cwd=folder)
    assert "ours_forget" in listed.out
    assert guard("policy", "show", "--suite", "ours", "--tasks-dir", "suites", cwd=folder).status == 0
    pointed = guard("policy", "show", "--suite", "ours", cwd=folder)
    assert pointed.status == 4
    assert "add --tasks-dir suites" in pointed.text


def test_check_without_a_base_says_what_it_has_not_looked_at(guard: Guard, folder: Path) -> None:
    assert guard(*INIT, cwd=folder).status == 0
    done = guard("suite", "check", "ours", cwd=folder)
    assert done.status == 0, done.text
    assert "0.25    0.090" in done.out
    assert "tokens: not shown without --base" in done.out
    assert "what needs a tokenizer or a model was not looked at" in done.text
    assert "suite ours can be used" in done.out
    assert "fewer than 100" not in done.text
    elsewhere = guard("suite", "check", "ours", "--tasks-dir", folder / "suites")
    assert elsewhere.status == 0
    assert guard("suite", "check", "ours").status == 4


def test_check_with_a_base_shows_tokens_pairs_and_scores(
    guard: Guard, folder: Path, candidate: Callable[[str], Path]
) -> None:
    assert guard(*INIT, cwd=folder).status == 0
    done = guard("suite", "check", "ours", "--base", candidate("base"), cwd=folder)
    assert done.status == 0, done.text
    assert "36 tokens: <s>|The|following|are|multiple|choice" in done.out
    assert "pairs of ours_forget, swapped: 100 of 100 usable, 50 used" in done.out
    assert "not measured: privleak: the suite has no probe" in done.text


def test_defects_end_the_check_with_4_after_all_else_is_said(
    guard: Guard, folder: Path, candidate: Callable[[str], Path]
) -> None:
    assert guard(*INIT, "--pairs", "neutral", cwd=folder).status == 0
    done = guard("suite", "check", "ours", "--base", candidate("base"), cwd=folder)
    assert done.status == 4, done.text
    assert "pairs of ours_forget, neutral: 0 of 50 usable, 0 used" in done.out
    assert "50 not: the neutral stem" in done.out
    assert "suite ours cannot be used as it is" in done.err
    assert "can be used" not in done.out


def test_what_cannot_be_read_is_refused_by_line_and_nothing_is_written(guard: Guard, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "forget.jsonl").read_text().splitlines()]
    rows[41]["answer"] = 4
    rows[77]["choices"][2] = ""
    (folder / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = guard(*INIT, cwd=folder)
    assert done.status == 4
    assert "forget.jsonl:42" in done.err
    assert "forget.jsonl:78" in done.err
    assert not (folder / "suites").exists()


def test_nothing_is_overwritten_without_being_asked_to(guard: Guard, folder: Path) -> None:
    assert guard(*INIT, cwd=folder).status == 0
    again = guard(*INIT, cwd=folder)
    assert again.status == 4
    assert "--replace" in again.err
    assert guard(*INIT, "--replace", cwd=folder).status == 0


def test_a_spelling_that_steers_the_terminal_is_not_printed(guard: Guard, folder: Path) -> None:
    row = {"question": "Is \x1b[31m red?", "choices": ["\x1b[0m", "no", "c", "d"], "answer": 1, "k\x1b[1m": 1}
    (folder / "forget.jsonl").write_text(json.dumps(row) + "\n")
    done = guard(*INIT, cwd=folder)
    shown = guard("suite", "check", "ours", cwd=folder)
    assert done.status == shown.status == 0
    assert "\x1b" not in done.text + shown.text


@pytest.mark.parametrize("options", [(), ("--retain", "keep.jsonl", "--ask", "words"), ("--retain", "nowhere.jsonl")])
def test_half_a_request_is_a_usage_error(guard: Guard, folder: Path, options: tuple[str, ...]) -> None:
    assert guard("init", "suite", "ours", "--from", "forget.jsonl", *options, cwd=folder).status == 4


@pytest.mark.parametrize("kind", ["texts", "written"])
@pytest.mark.slow
def test_other_kinds_of_questions_reach_a_verdict_too(
    guard: Guard, folder: Path, candidate: Callable[[str], Path], kind: str
) -> None:
    """Statements that the organism knows, as choices of texts and as answers to be written."""
    for role, name in (("forget", "forget"), ("retain", "keep")):
        rows = [
            json.loads(line)
            for line in (bundled("tasks") / "organism" / f"{role}_plain.jsonl").read_text().splitlines()
        ]
        made = [
            {"question": row["stem"], "choices": row["choices"], "answer": row["answer"]}
            if kind == "texts"
            else {"question": row["stem"], "answer": row["choices"][row["answer"]]}
            for row in rows[:40]
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    asked = ("--ask", "texts") if kind == "texts" else ()
    done = guard("init", "suite", "ours", "--from", "forget.jsonl", "--retain", "keep.jsonl", *asked, cwd=folder)
    assert done.status == 0, done.text
    for path in (folder / "suites" / "ours").glob("ours_*.yaml"):  # the organism's own form: no `Question:`
        path.write_text(path.read_text().replace('"Question: {{question}}\\nAnswer:"', '"{{question}}"'))
    checked = guard("suite", "check", "ours", "--base", candidate("base"), cwd=folder)
    assert checked.status in (0, 4), checked.text
    where = ("--base", candidate("base"), "--suite", "ours", "--tasks-dir", "suites", "--quiet")
    ended = guard("check", candidate("erased"), *where, "--precisions", "full,nf4", cwd=folder)
    assert ended.status in (0, 1, 5), ended.text
