"""What is generated is up to date, and what the documents name exists."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_command_reference_is_the_commands_own_help() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generate["page"](), "run: python docs/generate.py"


def test_the_policy_schema_is_the_reader_s_own():
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    found = (ROOT / "docs" / "thresholds.schema.json").read_text(encoding="utf-8")
    assert found == generate["schema"](), "run: python docs/generate.py"


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
