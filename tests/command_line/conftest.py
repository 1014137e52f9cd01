"""The real command, in a process of its own or in this one, with a store of the session's own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from alone import alone
from command import Done
from in_process import in_process

import unlearn_guard
from tests import switched
from tests.quiz import limits
from unlearn_guard.command_line.app import run as command


def made_by() -> str:
    """A digest of what an organism is made by: the package's code and weights, and the libraries that compute."""
    digest = sha256(f"{sys.version} {torch.__version__} {version('transformers')}".encode())
    package = Path(unlearn_guard.__file__).parent
    for path in sorted([*package.glob("organism/**/*.*"), package / "quantizers" / "grid.py"]):
        if path.suffix == ".pyc":
            continue
        digest.update(f"{path.relative_to(package)} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


BOTH = ("full", "nf4")
"""The precisions that take a second each."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all xdist workers of this session share, so that each candidate is made once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def environment(shared: Path) -> dict[str, str]:
    cache = str(shared / "store")
    return os.environ | {"UNLEARN_GUARD_CACHE": cache, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "80"}


@pytest.fixture(scope="session")
def process(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """Run `unlearn-guard ...` in a process of its own, in an empty directory or in `cwd`."""
    empty = tmp_path_factory.mktemp("empty")

    def run(*arguments: str | Path, cwd: Path = empty, **variables: str) -> Done:
        words = [sys.executable, "-m", "unlearn_guard", *map(str, arguments)]
        done = subprocess.run(words, cwd=cwd, env=environment | variables, capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def guard(process: Callable[..., Done]) -> Callable[..., Done]:
    """A process of its own, but where a module says `here`."""
    return process


@pytest.fixture(scope="session")
def here(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """The same in this process: for what is about a verdict or a refusal, and not about processes."""
    empty = tmp_path_factory.mktemp("empty")

    def run(*arguments: str | Path, cwd: Path = empty, **variables: str) -> Done:
        words = [str(each) for each in arguments]
        return in_process(lambda: command(words), cwd=cwd, environment=environment | variables)

    return run


@pytest.fixture(scope="session")
def candidate(here: Callable[..., Done], shared: Path) -> Callable[[str], Path]:
    """An organism's candidate, built by the real command once for all sessions with the same code and libraries."""
    kept = Path(tempfile.gettempdir()) / f"unlearn-guard-tests-{os.getuid()}" / "organisms" / made_by()

    def get(name: str) -> Path:
        kept.mkdir(parents=True, exist_ok=True)
        with alone(kept / f"{name}.lock"):
            if not (kept / name).exists():
                done = here("organism", "build", name, "--out", kept / name)
                assert done.status == 0, done.err
            if not (shared / name).exists():
                shutil.copytree(kept / name, shared / name)
        return shared / name

    return get


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four properties at full and nf4."""
    path = tmp_path_factory.mktemp("policy") / "thresholds.yaml"
    path.write_text(limits("forget_drop", "ptq_gap", "retain_drop", "cad", precisions=BOTH), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def checked(
    process: Callable[..., Done],
    here: Callable[..., Done],
    candidate: Callable[[str], Path],
    policy: Path,
    shared: Path,
) -> Callable[[str], tuple[Done, Path]]:
    """A candidate checked at full and nf4, once; `erased` in a process of its own."""

    def get(name: str) -> tuple[Done, Path]:
        model, out, told = candidate(name), shared / f"run-{name}", shared / f"run-{name}.json"
        with alone(shared / f"run-{name}.lock"):
            if not told.exists():
                run = process if name == "erased" else here
                done = run("check", model, "--thresholds", policy, "--out", out)
                told.write_text(json.dumps([done.status, done.out, done.err]))
        return Done(*json.loads(told.read_text())), out

    return get


@pytest.fixture
def copied(candidate: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of base that a test may spoil."""
    return Path(shutil.copytree(candidate("base"), tmp_path / "copy"))


SWITCHES = {"base": None, "bfloat16": switched.BFLOAT16, "float16": switched.FLOAT16, "honest": switched.HONEST}


@pytest.fixture(scope="session")
def made(shared: Path) -> Path:
    """Base and candidates, all of one training, and the suite."""
    root = shared / "switched"
    with alone(shared / "switched.lock"):
        if not (root / "policy.yaml").exists():
            model = switched.train()
            for name, switch in SWITCHES.items():
                switched.throw(model, switch)
                switched.save(model, root / name)
            switched.save(model, root / "float32", torch.float32)
            for name, some, dtype in (
                ("base_over", True, torch.bfloat16),
                ("some_over", True, torch.bfloat16),
                ("over", False, torch.bfloat16),
                ("declared_over", False, torch.float16),
            ):
                other = switched.copy.deepcopy(model)
                switched.throw(other, None if name == "base_over" else switched.HONEST)
                switched.overflow(other, some=some)
                switched.save(other, root / name, dtype)
            switched.write_suite(root / "ours")
            (root / "policy.yaml").write_text(limits(*switched.ONE_DTYPE, "dtype_gap", precisions=BOTH))
    return root
