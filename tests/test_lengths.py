"""A file is one noun and a function one thought: neither grows beyond what is taken in at a look."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("unlearn_guard", "methods", "tasks", "benchmarks", "tests", "docs")
FILE, FUNCTION = 300, 50
"""The most lines of each; a function's are counted from its `def`."""


def too_long(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if len(text.splitlines()) > FILE:
        yield f"{file.name}: {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION:
                yield f"{file.name}: {node.name} has {lines} lines"


def test_no_file_and_no_function_is_longer_than_one_thought() -> None:
    files = [*ROOT.glob("*.py"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    assert len(files) > 500
    assert [each for file in files for each in too_long(file)] == []


def test_a_longer_one_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    file.write_text("def f():\n" + "    x = 1\n" * 49)
    assert list(too_long(file)) == []
    file.write_text("class A:\n    async def f(self):\n" + "        x = 1\n" * 50)
    assert list(too_long(file)) == ["long.py: f has 51 lines"]
    file.write_text("x = 1\n" * 300)
    assert list(too_long(file)) == []
    file.write_text("x = 1\n" * 301)
    assert list(too_long(file)) == ["long.py: 301 lines"]
