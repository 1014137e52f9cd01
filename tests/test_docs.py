"""What is generated is up to date, and what the documents name exists."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOG = sorted(ROOT.glob("docs/log/*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *LOG])
WRAPPED = [page for page in PAGES if page.name not in ("CHANGELOG.md", "cli.md")]
"""One sentence a change stays on its line, and the command reference is generated."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
WIDTH = 119


def prose(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of what is neither code nor a table."""
    fenced = paragraph = False
    for number, line in enumerate(text.splitlines(), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        code = fenced or fence or (line.startswith("    ") and not paragraph)
        paragraph = bool(line.strip()) and not code
        if not code and not line.startswith("|"):
            yield number, line


def test_the_command_reference_is_the_commands_own_help() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generate["page"](), "run: python docs/generate.py"


def test_the_policy_schema_is_the_reader_s_own():
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    found = (ROOT / "docs" / "thresholds.schema.json").read_text(encoding="utf-8")
    assert found == generate["schema"](), "run: python docs/generate.py"


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@each_page
def test_every_file_named_is_there(page: Path) -> None:
    named = re.findall(
        r"(?<![\w./-])(?:benchmarks|methods|tasks|tests|unlearn_guard)/[\w./-]*\w", page.read_text("utf-8")
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", WRAPPED, ids=lambda page: page.name)
def test_prose_is_wrapped(page: Path) -> None:
    assert [number for number, line in prose(page.read_text(encoding="utf-8")) if len(line) > WIDTH] == []


def test_a_long_line_is_noticed_in_prose_alone() -> None:
    long = "word " * 24
    text = f"{long}\n\n- {long}\n    {long}\n\n    {long}\n\n```\n{long}\n```\n\n| {long} |\n\n{long}\n"
    assert [number for number, line in prose(text) if len(line) > WIDTH] == [1, 3, 4, 14]


def test_the_log_lists_every_question_newest_first() -> None:
    index = (ROOT / "docs" / "log" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- (\S+): \[(.+)\]\((\S+)\)$", index, flags=re.MULTILINE)
    assert sorted(name for _, _, name in listed) == [page.name for page in LOG if page.name != "README.md"]
    assert [day for day, _, _ in listed] == sorted((day for day, _, _ in listed), reverse=True)
    for day, question, name in listed:
        title, _, rest = (ROOT / "docs" / "log" / name).read_text(encoding="utf-8").partition("\n\n")
        assert name.startswith(day)
        assert title == f"# {question}"
        assert day in rest.partition("\n\n")[0]


def test_the_picture_of_the_house_is_the_order_of_imports() -> None:
    picture = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```\n")[1]
    floors = runpy.run_path(str(ROOT / "tests" / "test_imports.py"))["FLOORS"]
    assert [set(floor.split()) for floor in picture.splitlines()] == list(reversed(floors))


def test_each_room_s_files_are_in_it() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|(.*)$", page, flags=re.MULTILINE)
    assert len(rows) > 10
    named = [f"{room}/{name}" for room, row in rows for name in re.findall(r"`(\w+\.py)`", row)]
    assert [name for name in named if not (ROOT / "unlearn_guard" / name).exists()] == []
