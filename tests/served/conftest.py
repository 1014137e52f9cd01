"""Runs of models of a few thousand weights, made by the real command once, and what serves them."""

import json
import shutil

import pytest
import torch
from model_server import ModelServer

from tests.quiz import write_tasks
from tests.tiny import build
from tests.tiny import tokenizer as of_words
from unlearn_guard.command_line.app import run as command

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<s>Where {{ m.content }} ? {% else %}{{ m.content }} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}lives {% endif %}"
)
POLICY = """\
version: 1
precisions: [full]
limits:
  - {metric: truncated, task: "@forget", precision: full, at_most: 0, because: a test}
"""


NAMES, PLACES = [f"n{number}" for number in range(10)], ["p0", "p1", "p2", "p3"]
WORDS = ("<pad>", "<unk>", "<s>", "</s>", "Where", "lives", "?", ".", *NAMES, *PLACES)
"""So few that a choice is always among the twenty likeliest."""


def tokenizer():
    made = of_words(WORDS)
    made.chat_template = TEMPLATE
    return made


def sharp(seed):
    """A model of random weights that is sure of its random answers."""
    model = build("llama", seed=seed, vocab_size=len(WORDS))
    with torch.no_grad():
        model.lm_head.weight.mul_(12.0)
    return model


def rows(asked, others, *, long):
    return [
        {
            "question": f"{asked} {who} {other} ?",
            "choices": [f"{place} ." if long else place for place in PLACES],
            "answer": 0,
        }
        for who in NAMES
        for other in others
    ]


@pytest.fixture(scope="session")
def served_models():
    return {"candidate": sharp(1), "base": sharp(2)}


@pytest.fixture(scope="session")
def judged(tmp_path_factory, served_models):
    """By `plain`, `long` and `chat`: a run directory that passed, of one-token choices, longer ones, conversations."""
    root = tmp_path_factory.mktemp("served")
    for name, model in served_models.items():
        model.save_pretrained(root / name)
        tokenizer().save_pretrained(root / name)
    (root / "policy.yaml").write_text(POLICY)
    runs = {}
    for name, long, more in (("plain", False, []), ("long", True, []), ("chat", False, ["--apply-chat-template"])):
        suites = root / f"suites-{name}"
        forget = [*rows("Where lives", NAMES, long=long), *rows("Where", NAMES[:4], long=long)]
        retain = rows("lives", NAMES[:2], long=long)
        write_tasks(suites, "quiz", forget=forget, retain=retain)
        out = root / f"run-{name}"
        words = ["check", root / "candidate", "--base", root / "base", "--suite", "quiz", "--tasks-dir", suites]
        words += ["--thresholds", root / "policy.yaml", "--out", out, "--quiet", *more]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNLEARN_GUARD_CACHE", str(root / "store"))
            assert command([str(each) for each in words]) == 0
        runs[name] = (out, suites)
    return runs


@pytest.fixture
def run_of(judged, tmp_path):
    """A copy of a run that a test may write beside, and the options that find its suite."""

    def get(name="plain"):
        out, suites = judged[name]
        copy = tmp_path / f"run-{name}"
        if not copy.exists():
            shutil.copytree(out, copy)
        return copy, ["--tasks-dir", str(suites)]

    return get


@pytest.fixture
def server_of(served_models):
    def get(name="candidate", kind="vllm", **more):
        return ModelServer(served_models[name], tokenizer(), kind, **more)

    return get


@pytest.fixture
def probed(run_of, capfd, monkeypatch):
    """The real command in this process: its status, and what it wrote."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def go(url, *options, name="plain"):
        run, more = run_of(name)
        status = command(["probe", url, "--run", str(run), *more, *map(str, options)])
        out, err = capfd.readouterr()
        return status, " ".join(out.split()), " ".join(err.split()), out

    return go


def result(run):
    (file,) = (run / "probes").glob("*.json")
    return json.loads(file.read_text())
