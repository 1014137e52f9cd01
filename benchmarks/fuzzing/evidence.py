"""What a run leaves behind, bent: run directories, policies, suites, statements and store entries.

Each target is a sound thing made by hand, one to three changes, and often the repair that a forger would make: every
digest in run.json, and every field that is only written for readers, recomputed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzzing.mutations import Words, damaged, document
from tests.oracles.made_directory import forged, made_directory

POLICY: Mapping[str, Any] = {
    "version": 1,
    "limits": [
        {"metric": "forget_drop", "task": "@forget", "precision": ["full", "nf4"], "at_least": 0.3, "because": "a"},
        {"metric": "ptq_gap", "task": "@forget", "precision": "nf4", "at_most": 0.0, "because": "b"},
        {"metric": "retain_drop", "task": "@retain", "precision": "full", "at_most": 0.15, "because": "c"},
        {"metric": "cad", "task": "forget_task", "precision": "full", "at_least": 0.3, "because": "d"},
        {"metric": "dtype_gap", "task": "forget_task", "precision": "full", "at_most": 0.2, "because": "e"},
        {"metric": "acc", "task": "@retain", "precision": "full", "at_least": 0.5, "confidence": 0.9, "because": "f"},
    ],
}
SUITE: Mapping[str, Any] = {
    "version": 1,
    "name": "suite",
    "title": "t",
    "description": "d",
    "forget": [{"task": "wmdp_bio", "metric": "acc", "chance": 0.25, "pairs": "neutral", "floor": 0.3}],
    "retain": [{"task": "mmlu_1000", "metric": "acc", "chance": 0.25, "measure": "model_utility"}],
    "probe": [{"task": "p", "metric": "m", "measure": "privleak", "retrained": 0.5}],
    "include": ["wmdp", "mmlu"],
    "calibration": {"tasks": "retain", "samples": 5},
    "unlearn": {"forget": [{"dataset": "a/b", "revision": "0" * 40}], "retain": [{"dataset": "a/c", "split": "x"}]},
}
_NUMBERS = (0, 1, -1, 0.0, 1.0, 0.3, 0.5, 0.95, 0.99, 2, 100, 1e-9, 10**400, 85, 20)
_NAMES = ("full", "nf4", "gptq", "forget_task", "retain_task", "weights", "suite", "@forget", "@retain", "@probe")
_OUTCOMES = ("passed", "failed", "incomplete", "unmeasured", "inconclusive", "PASSED", "forget", "retain", "probe")
_METRICS = ("forget_drop", "ptq_gap", "retain_drop", "cad", "acc", "dtype_gap", "recovery", "quantized_share", "as_nc")
_KEYS = (
    *("metric", "task", "precision", "at_least", "at_most", "confidence", "because", "value", "samples", "intervals"),
    *("role", "chance", "floor", "items", "digest", "correct", "loglikelihoods", "target", "prompt", "id", "limit"),
    *("complete", "verdict", "policy", "text", "suite", "base", "candidate", "retrained", "files", "measurements"),
    *("result", "passedTests", "failedTests", "warnedTests", "subject", "name", "sha256", "annotations", "predicate"),
    *("pairs", "measure", "include", "unlearn", "calibration", "forget", "retain", "probe", "precisions", "version"),
)
WORDS = Words(_KEYS, values=(*_NUMBERS, *_NAMES, *_OUTCOMES, *_METRICS, True, False, None, [], {}))

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input: its target, whether the thing had passed before, and the seeds of its changes."""

    index: int
    target: str
    passing: bool
    steps: tuple[str, ...]


def draw(seed: int, index: int, only: str | None = None) -> Input:
    """The input of this index."""
    rng = Random(f"evidence:{seed}:{index}")
    target = only or rng.choices(tuple(TARGETS), (4, 2, 1, 2, 1))[0]
    steps = tuple(f"{seed}:{index}:{step}" for step in range(rng.choices((1, 2, 3), (0.6, 0.25, 0.15))[0]))
    return Input(index=index, target=target, passing=rng.random() < 0.4, steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is bent, as bytes by name: two run directories, a statement of each and the files it speaks of, an entry."""

    runs: Mapping[bool, Files]
    statements: Mapping[bool, bytes]
    judged: Files
    entry: bytes


def world(root: Path) -> World:
    """Make every sound thing once."""
    runs = {
        passing: _bytes(made_directory(root / f"made-{passing}", 20 if passing else 85)) for passing in (True, False)
    }
    judged = {"config.json": b"{}", "model.safetensors": b"weights"}
    statements = {passing: _statement(root / f"made-{passing}", judged) for passing in (True, False)}
    return World(runs=runs, statements=statements, judged=judged, entry=_entry(root / "store"))


def _bytes(folder: Path) -> Files:
    return {
        each.relative_to(folder).as_posix(): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()
    }


def _statement(run_dir: Path, judged: Files) -> bytes:
    from hashlib import sha256

    from unlearn_guard.reports.attestation import statement
    from unlearn_guard.reports.rendering import read_evidence

    digests = {name: sha256(data).hexdigest() for name, data in judged.items()}
    return json.dumps(statement(read_evidence(run_dir), digests)).encode()


KEY = "ab" * 32


def _entry(root: Path) -> bytes:
    from unlearn_guard.runs.store import Store

    store = Store(root)
    store.put_json(KEY, {"samples": [{"id": "1", "loglikelihoods": [-1.0, -2.0]}], "correct": False})
    return store._entry(KEY).read_bytes()


def put(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files, and the folders they lie in."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def bend(one: Input, made: World, folder: Path) -> None:
    """Write the input's bent thing into an empty folder."""
    TARGETS[one.target](one, made, folder)


def _run(one: Input, made: World, folder: Path) -> None:
    files = dict(made.runs[one.passing])
    names = [name for name in files if not name.startswith(".")]
    weights = [6 if name == "run.json" else 1 for name in names]
    repair = 0.0
    for step in one.steps:
        rng = Random(step)
        name = rng.choices(names, weights)[0]
        files[name] = _lines(rng, files[name]) if name.endswith(".jsonl") else document(rng, files[name], WORDS)
        repair = rng.random()
    put(files, folder / "run")
    try:
        if repair < 0.7:
            forged(folder / "run", lambda _: None)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError):
        pass  # what is bent so far that no forger can repair it stays as it is


def _lines(rng: Random, raw: bytes) -> bytes:
    """A file of answers with one line changed, lost, doubled, or two of them swapped."""
    lines = raw.splitlines() or [b"{}"]
    at, kind = rng.randrange(len(lines)), rng.randrange(6)
    if kind == 0:
        return damaged(rng, raw)
    if kind == 1:
        lines.pop(at)
    elif kind == 2:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif kind == 3:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = document(rng, lines[at], WORDS).replace(b"\n", b" ")
    return b"".join(line + b"\n" for line in lines)


def _policy(one: Input, made: World, folder: Path) -> None:
    put(made.runs[one.passing], folder / "run")
    text = json.dumps(POLICY, indent=1).encode()
    for step in one.steps:
        text = document(Random(step), text, WORDS)
    (folder / "policy.yaml").write_bytes(text)


def _suite(one: Input, _: World, folder: Path) -> None:
    text = json.dumps(SUITE).encode()
    for step in one.steps:
        text = document(Random(step), text, WORDS)
    (folder / "suite.yaml").write_bytes(text)


def _bent_statement(one: Input, made: World, folder: Path) -> None:
    text = made.statements[one.passing]
    for step in one.steps:
        text = document(Random(step), text, WORDS)
    put(made.judged, folder / "checkpoint")
    (folder / "statement.json").write_bytes(text)


def _bent_entry(one: Input, made: World, folder: Path) -> None:
    text = made.entry
    for step in one.steps:
        text = document(Random(step), text, WORDS)
    (folder / "entry").write_bytes(text)


TARGETS: Mapping[str, Callable[[Input, World, Path], None]] = {
    "run": _run,
    "policy": _policy,
    "suite": _suite,
    "statement": _bent_statement,
    "store": _bent_entry,
}
