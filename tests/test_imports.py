"""Imports point down, and what needs no model does not load torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "unlearn_guard"

FLOORS = (
    {"records", "errors"},
    {"resources", "reading"},
    {"registry", "environment", "processes"},
    {"intake", "scoring", "quantizers", "attribution", "residue", "judging", "runs"},
    {"reopening"},
    {"reports", "organism", "real"},
    {"checking", "served"},
    {"unlearning", "pytest_plugin"},
    {"comparing", "authoring", "calibrating"},
    {"command_line"},
    {"__main__"},
)
"""From bottom to top, as CONTRIBUTING.md draws them: a room imports from lower floors and from itself."""


def level(name: str) -> int:
    return next(place for place, names in enumerate(FLOORS) if name in names)


def imports(file: Path, *, runtime_only: bool = False) -> set[str]:
    """The dotted names below unlearn_guard that a file imports, lazily or not."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if runtime_only and id(node) in guarded:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unlearn_guard."):
            module = (node.module or "").removeprefix("unlearn_guard.")
            names = [
                alias.name for alias in node.names if (PACKAGE / module.replace(".", "/") / f"{alias.name}.py").exists()
            ]
            found |= {f"{module}.{name}" for name in names} or {module}
        elif isinstance(node, ast.ImportFrom) and node.module == "unlearn_guard":
            found |= {alias.name for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("unlearn_guard.") for a in node.names if a.name.startswith("unlearn_guard.")}
    return found


def offences(file: Path, own: str) -> list[str]:
    found = []
    for name in sorted(imports(file, runtime_only=True)):
        top = name.split(".")[0]
        if top == own:
            continue
        if level(top) >= level(own):
            found.append(f"{own} imports {name}")
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path) -> None:
    parts = file.relative_to(PACKAGE).parts
    own = parts[0] if len(parts) > 1 else file.stem
    if own == "__init__":
        assert not imports(file)
    else:
        assert not offences(file, own)


def test_an_upward_import_is_noticed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from unlearn_guard.checking.pipeline import check\n")
    assert offences(bad, "judging") == ["judging imports checking.pipeline"]
    bad.write_text("from unlearn_guard.runs.store import Store\n")
    assert offences(bad, "judging") == ["judging imports runs.store"]
    bad.write_text("from unlearn_guard.records import Limit\n")
    assert offences(bad, "judging") == []


LIGHT = (
    "unlearn_guard.command_line.app",
    "unlearn_guard.judging.gate",
    "unlearn_guard.judging.thresholds",
    "unlearn_guard.judging.derive",
    "unlearn_guard.runs.directory",
    "unlearn_guard.runs.store",
    "unlearn_guard.reports.terminal",
    "unlearn_guard.reports.html",
    "unlearn_guard.reopening.run",
    "unlearn_guard.reports.rendering",
    "unlearn_guard.comparing.leaderboard",
    "unlearn_guard.comparing.measure_cell",
    "unlearn_guard.comparing.compare",
    "unlearn_guard.comparing.engines.ray",
    "unlearn_guard.command_line.serving",
    "unlearn_guard.reports.attesting",
    "unlearn_guard.registry",
    "unlearn_guard.pytest_plugin",
    "unlearn_guard.organism",
    "unlearn_guard.real.fetching",
    "unlearn_guard.authoring.publishing",
)


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_leave_torch_alone(module: str) -> None:
    code = f"import {module}, sys; print(sorted({{'torch', 'transformers', 'lm_eval', 'scipy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_leaves_torch_alone() -> None:
    code = (
        "import sys; from unlearn_guard.command_line.app import run; status = run(['--help']);"
        "print(status, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False False"
