"""Methods by name: shipped files, the user's folder and installed packages, by one door."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from unlearn_guard import registry
from unlearn_guard.errors import PluginError
from unlearn_guard.resources import bundled

SHIPPED = {path.stem for path in bundled("methods").glob("*.py")}

MINE = '''"""Mine: an example."""
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    strength: float = 1.0

    def unlearn(self, model, corpora, *, seed):
        model.get_input_embeddings().weight.data.mul_(self.strength)

METHOD = Mine
'''


def test_every_shipped_method_loads_and_says_what_it_is() -> None:
    found = registry.methods()
    assert set(found) >= SHIPPED
    for name in SHIPPED:
        assert len(found[name].about) > 20, name
        assert registry.method(name)().unlearn


def test_a_users_folder_adds_to_them(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "_helper.py").write_text("")
    found = registry.methods([tmp_path])
    assert set(found) - set(registry.methods()) == {"mine"}
    assert found["mine"].about == "Mine: an example."
    assert registry.method("mine", [tmp_path])(strength=2.0).strength == 2.0


def test_a_name_means_one_method(tmp_path: Path) -> None:
    (tmp_path / "npo.py").write_text(MINE)
    with pytest.raises(PluginError, match="npo is claimed by"):
        registry.methods([tmp_path])


def test_an_unknown_name_gets_near_ones() -> None:
    with pytest.raises(PluginError, match="Did you mean"):
        registry.method("nppo")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="nowhere"):
        registry.methods([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("import nothing_of_that_name", "broken.py does not load: ModuleNotFoundError"),
        ("x = 1", "has no attribute 'METHOD'"),
        ("METHOD = 3", "no dataclass with a function `unlearn`"),
        ("class A:\n    def unlearn(self): ...\nMETHOD = A", "no dataclass"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(PluginError, match=match):
        registry.method("broken", [tmp_path])


def test_listing_runs_nobodys_code(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text('"""Loud: raises when it is imported."""\nraise SystemExit(3)\n')
    assert registry.methods([tmp_path])["loud"].about == "Loud: raises when it is imported."


def test_an_entry_point_is_a_method_too(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", "json:JSONDecoder", registry.METHODS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == registry.METHODS else [])
    assert registry.methods()["theirs"].about == "json:JSONDecoder"
    with pytest.raises(PluginError, match="json:JSONDecoder is no dataclass"):
        registry.method("theirs")


@pytest.mark.slow
def test_an_installed_package_brings_its_method(tmp_path: Path) -> None:
    """The package in tests/plugin_package, installed for real into a folder of its own."""
    package = Path(__file__).parent / "plugin_package"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(package)]
    subprocess.run(pip, check=True, capture_output=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "from unlearn_guard.registry import method, methods;"
        "print(methods()['shrink'], method('shrink')(factor=0.5).factor)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "unlearn-guard-shrink (unlearn_guard_shrink:Shrink) 0.5"
