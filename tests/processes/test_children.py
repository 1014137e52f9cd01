"""The working directory may be the candidate's: no code is taken from it by any process of ours."""

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from unlearn_guard.processes import children

ROOT = Path(__file__).parents[2]
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
        "from unlearn_guard.processes.children import keep_safe\n"
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
    from unlearn_guard.comparing.engines.local import COMMAND

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
        text = script.read_text(encoding="utf-8")
        assert "export PYTHONSAFEPATH=1" in text or "/safe.sh" in text, script


LED = """
import os, subprocess, sys, time
from unlearn_guard.processes.children import end_with
end_with(0)
child = subprocess.Popen(["sleep", "1000"])
print(os.getpid(), child.pid, flush=True)
{then}
"""
KEEPS_PYTHON_S_LOCK = "import re; re.match('(a*)*b', 'a' * 60)"


def gone(*numbers: int, within: float = 10.0) -> bool:
    """Whether these processes end in time; a zombie that nobody has waited for has ended."""

    def lives(number: int) -> bool:
        try:
            return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    deadline = time.monotonic() + within
    while any(map(lives, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(lives, numbers))


def led(then: str) -> tuple["subprocess.Popen[str]", tuple[int, ...]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LED.format(then=then)],
        env=children.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, tuple(map(int, process.stdout.readline().split()))


@pytest.mark.parametrize("then", ["time.sleep(1000)", KEEPS_PYTHON_S_LOCK])
def test_a_process_and_what_it_started_end_with_their_lifeline(then: str) -> None:
    process, both = led(then)
    assert not gone(*both, within=0.5)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == -signal.SIGKILL
    assert gone(*both)


@pytest.mark.parametrize(("then", "status"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", -9)])
def test_what_a_process_started_ends_with_it_and_its_status_is_its_own(then: str, status: int) -> None:
    process, both = led(then)
    assert process.wait(10) == status
    assert gone(*both)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_module_that_is_not_ours_ends_with_us(sent: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(1000)")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from unlearn_guard.processes import children\n"
        "from unlearn_guard.processes.interruption import remembered\n"
        f"env = children.environment() | {{'PYTHONPATH': {str(tmp_path)!r} + os.pathsep + {str(ROOT)!r}}}\n"
        "children.subprocess.PIPE = None\n"  # its output comes here
        "with remembered():\n"
        "    children.run_tethered('theirs', cwd=Path('/'), env=env)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=children.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    theirs = int(process.stdout.readline())
    process.send_signal(sent)
    assert process.wait(10) != 0
    assert gone(theirs)


def test_a_tethered_module_has_its_own_arguments_and_status(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("import sys; print(__name__, sys.argv); sys.exit(3)")
    environment = children.environment({"PYTHONPATH": str(tmp_path)})
    done = children.run_tethered("theirs", "a b", "-c", cwd=tmp_path, env=environment)
    assert done.returncode == 3, done.stderr
    assert done.stdout.strip() == f"__main__ ['{tmp_path / 'theirs.py'}', 'a b', '-c']"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_the_quantizer_s_process_ends_with_us(sent: signal.Signals) -> None:
    """A run that is interrupted does not wait for hours of work, and one that is killed leaves none behind."""
    code = (
        "import os, time, unlearn_guard.quantizers.worker as worker\n"
        "from pathlib import Path\n"
        "from unlearn_guard.processes.interruption import remembered\n"
        "from concurrent.futures import ProcessPoolExecutor as Pool\n"
        "ask = Pool.submit\n"
        "Pool.submit = lambda self, *_: ask(self, os.system, 'echo $$ $PPID; exec sleep 1000')\n"
        "with remembered():\n"
        "    worker.quantize('gptq', Path('/'), Path('/'), (), group=1, device='cpu')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=children.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    theirs = tuple(map(int, process.stdout.readline().split()))
    assert len(theirs) == 2
    process.send_signal(sent)
    assert process.wait(10) != 0
    assert gone(*theirs)


def test_no_plug_in_of_pydantic_stands_between_a_file_and_its_reader(tmp_path: Path) -> None:
    code = (
        "from unlearn_guard.processes.children import keep_safe\n"
        "keep_safe()\n"
        "import importlib.metadata as m\n"
        "asked, find = [], m.entry_points\n"
        "m.entry_points = lambda **of: (asked.append(of), find(**of))[1]\n"
        "import unlearn_guard.judging.draft\n"
        "print(asked)"
    )
    done = run(sys.executable, "-P", "-c", code, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr
