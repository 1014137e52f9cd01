"""The guide of docs/tasks.md, typed as it stands in an empty directory: its files, its commands, what they print."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command import Done

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w./]+\.(?:jsonl|csv|yaml))`( is now)?:\s*$")

Guard = Callable[..., Done]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the line before it names, to write or to find."""

    language: str
    text: str
    file: str | None
    written: bool


def blocks() -> Iterator[Block]:
    """Of the section on a suite of one's own."""
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    section = page.partition("## A suite of your own questions\n")[2].partition("\n## ")[0]
    parts = re.split(r"^```(\w*)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    for before, language, text in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        named = NAMED.search(before)
        yield Block(language, text, named.group(1) if named else None, bool(named and named.group(2)))


def commands(block: Block) -> list[list[str]]:
    lines = [shlex.split(line) for line in block.text.replace("\\\n", " ").splitlines()]
    assert all(words[0] == "unlearn-guard" for words in lines)
    return [words[1:] for words in lines]


def follow(guard: Guard, folder: Path, wanted: Callable[[list[str]], bool]) -> list[list[str]]:
    """Write and type what the guide says, in its order; what it says of files and output has to be so."""
    done, out = [], ""
    for block in blocks():
        if block.language == "sh":
            out = ""
            for words in filter(wanted, commands(block)):
                ended = guard(*words, cwd=folder, COLUMNS="100")
                assert ended.status == 0, (words, ended.text)
                done.append(words)
                out = ended.out
        elif block.written:
            assert (folder / str(block.file)).read_text(encoding="utf-8") == block.text
        elif block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "text" and out:
            assert block.text in "\n".join(line.rstrip() for line in out.splitlines()) + "\n"
        else:
            assert block.language == "text", f"a block that nobody runs: {block}"
    return done


def test_the_guide_s_suite_can_be_built_and_used(guard: Guard, tmp_path: Path) -> None:
    """All of it that needs no model."""
    done = follow(guard, tmp_path, lambda words: words[0] in ("init", "suite") and "--base" not in words)
    assert [words[:3] for words in done] == [["init", "suite", "islanders"], ["suite", "check", "mixed"]]
    assert guard("suite", "check", "islanders", cwd=tmp_path).status == 0


@pytest.mark.slow
def test_the_guide_leads_to_a_verdict(guard: Guard, tmp_path: Path) -> None:
    done = follow(guard, tmp_path, lambda words: True)
    assert {words[0] for words in done} == {"init", "suite", "organism", "unlearn", "check", "attribute"}
