"""The working directory may be the candidate's: no code is taken from it by any process of ours."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from unlearn_guard import children

ROOT = Path(__file__).parents[1]
SHADOWS = ("pickle", "json", "pytest", "tempfile", "multiprocessing", "click", "queue", "socket", "random", "torch")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory whose modules say so when they are run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    ran = tmp_path / "ran"
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write('{name} ')\n")
    return folder


def untouched(hostile: Path) -> bool:
    return not (hostile.parent / "ran").exists()


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    environment = kept | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_fixture_is_hostile(hostile: Path) -> None:
    run(sys.executable, "-c", "import pickle", cwd=hostile)
    assert not untouched(hostile)


@pytest.mark.parametrize("arguments", [("--version",), ("list", "policies"), ("check", "nowhere")])
def test_the_module_begins_again_with_a_safe_path(hostile: Path, arguments: tuple[str, ...]) -> None:
    done = run(sys.executable, "-m", "unlearn_guard", *arguments, cwd=hostile)
    assert done.returncode == (4 if "check" in arguments else 0), done.stderr
    assert untouched(hostile)


def test_beginning_again_keeps_the_interpreter_s_options_and_the_arguments(tmp_path: Path) -> None:
    code = (
        "import sys, unlearn_guard.__main__ as main, os;"
        "os.execv = lambda program, command: print(program == sys.executable, command[1:]);"
        "main._begin_again()"
    )
    done = run(sys.executable, "-X", "utf8", "-c", code, "a b", "--out=x", cwd=tmp_path)
    assert done.stdout.startswith("True ['-P', '-X', 'utf8', '-c'")
    assert done.stdout.rstrip().endswith("'a b', '--out=x']")


def test_a_checkout_is_found_again_from_its_own_directory() -> None:
    done = run(sys.executable, "-m", "unlearn_guard", "--version", cwd=ROOT, PYTHONPATH="")
    assert done.stdout.startswith("unlearn-guard, version"), done.stderr


def test_children_of_children_start_with_a_safe_path(hostile: Path) -> None:
    """A spawned pool's processes and multiprocessing's own helper start with `-c`, and theirs do too."""
    code = (
        "import multiprocessing, os, subprocess, sys\n"
        "from unlearn_guard.children import keep_safe\n"
        "keep_safe()\n"
        "import unlearn_guard.quantizers.worker as worker\n"
        "print(worker._pool().submit(os.system, f'{sys.executable} -c \"import pickle, sys; "
        "print(sys.flags.safe_path)\"').result())\n"
    )
    done = run(sys.executable, "-P", "-c", code, cwd=hostile)
    assert done.stdout.split() == ["True", "0"], done.stderr
    assert untouched(hostile)


def test_the_pool_is_safe_without_the_command_line_too(hostile: Path) -> None:
    code = (
        "import os, unlearn_guard.quantizers.worker as w; print(w._pool().submit(os.getenv, 'PYTHONSAFEPATH').result())"
    )
    done = run(sys.executable, "-P", "-c", code, cwd=hostile)
    assert done.stdout.strip() == "1", done.stderr
    assert untouched(hostile)


def test_a_cell_s_process_takes_no_code_from_where_it_starts(hostile: Path) -> None:
    from unlearn_guard.local_engine import COMMAND

    done = subprocess.run(COMMAND, cwd=hostile, env=children.environment(), input=b"", capture_output=True, check=False)
    assert done.returncode == 4, done.stderr  # there was no job
    assert untouched(hostile)


def test_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = children.environment({"PYTHONPATH": f"{os.pathsep}lib{os.pathsep}/abs", "A": "b"})
    package = [] if str(ROOT) in (sysconfig.get_path("purelib"),) else [str(ROOT)]
    assert found == {
        "A": "b",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join([*package, str(tmp_path / "lib"), "/abs"]),
    }


def test_no_other_way_of_starting_python_is_left() -> None:
    """Who starts a Python has to do it by way of `children`."""
    for folder in ("unlearn_guard", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if file.name not in ("children.py", "__main__.py"):
                assert "sys.executable" not in text, file
    for script in (ROOT / ".github" / "actions" / "gate").glob("*.sh"):
        assert "export PYTHONSAFEPATH=1" in script.read_text(encoding="utf-8")
