"""`probe` against llama.cpp's own HTTP server in a process of its own: what was judged, base, and a rounded file."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from transformers import AutoConfig

from tests.quiz import limits
from unlearn_guard.organism import base_path
from unlearn_guard.quantizers.gguf_writing import write
from unlearn_guard.quantizers.layers import directory_tensors

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.slow


@contextmanager
def llama_cpp(model, recipe, folder):
    file = folder / f"{recipe}.gguf"
    write(directory_tensors(model), AutoConfig.from_pretrained(model), file, recipe)
    words = [sys.executable, str(Path(__file__).with_name("gguf_server.py")), str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.kill()


@pytest.fixture(scope="module")
def judged(here, candidate, tmp_path_factory):
    """`hidden-gguf` judged in full precision, by a policy that it holds there."""
    root = tmp_path_factory.mktemp("probed")
    (root / "policy.yaml").write_text(limits("forget_drop", precisions=("full",)))
    run = root / "run"
    done = here("check", candidate("hidden-gguf"), "--thresholds", root / "policy.yaml", "--out", run)
    assert done.status == 0, done.text
    return run


@pytest.mark.parametrize(
    ("name", "recipe", "status", "told"),
    [
        ("hidden-gguf", "F32", 0, "Served as judged"),
        ("hidden-gguf", "Q8_0", 0, "Served as judged"),  # its steps are too fine to change an answer
        ("hidden-gguf", "Q4_0", 1, "NOT what was judged"),
        ("base", "F32", 1, "NOT what was judged"),
    ],
)
def test_only_what_was_judged_passes(name, recipe, status, told, judged, here, candidate, tmp_path):
    model = base_path() if name == "base" else candidate(name)
    with llama_cpp(model, recipe, tmp_path) as url:
        done = here("probe", url, "--run", judged, "--prompts", "ids", "--out", tmp_path / "found.json")
    assert done.status == status, done.text
    assert told in done.text
    assert "forced tokens" in done.text
    assert "likeliest tokens" in done.text
