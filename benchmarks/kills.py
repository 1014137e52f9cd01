"""`check` killed at random moments and resumed: `python -m benchmarks.kills --kills 200 --seed 0`.

What it shows: whenever and however a run is ended, the same command finishes it with the verdict and every measurement
of an undisturbed run, and no process of it is left. One undisturbed run at full, nf4 and gptq with attribution comes
first. Then history after history, each with an empty store and run directory: up to KILLS kills in a row, each at a
moment drawn uniformly from what runs lately took, then the same command without a kill. A resumed run keeps
what is stored, so later kills of a history come later in the work, and a kill costs a fraction of a run. Signals take
turns: SIGTERM or SIGKILL, to the process or to its process group, or SIGTERM and SIGKILL a moment later as a CI does.

Looked at after each kill: SIGTERM ended with status 2 (or the run was done, and had its status); no process that
carries the run's mark in its environment lives WITHIN seconds later; no verdict stands. After each history: run.json's
verdict, checks and measurements and the answers beside it are the undisturbed run's, byte for byte, and nothing
half-made is left. Exit status 1 where anything was found. Linux only, as it reads /proc.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unlearn_guard.processes import children
from unlearn_guard.processes.half_made import PREFIX

KILLS = 6
WITHIN = 5.0
MARK = "UNLEARN_GUARD_KILLS"
POLICY = """\
version: 1
precisions: [full, nf4, gptq]
limits:
  - {metric: forget_drop, task: "@forget", precision: [full, nf4, gptq], at_least: 0.30, because: test}
  - {metric: ptq_gap, task: "@forget", precision: [nf4, gptq], at_most: 0.0, because: test}
  - {metric: retain_drop, task: "@retain", precision: [full, nf4, gptq], at_most: 0.15, because: test}
  - {metric: cad, task: "@forget", precision: [full, nf4], at_least: 0.80, because: test}
"""
WAYS = ("TERM", "KILL", "TERM group", "KILL group", "TERM then KILL")


@dataclass(kw_only=True)
class Guard:
    """The command, and where it works."""

    folder: Path
    candidate: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(self) -> "subprocess.Popen[bytes]":
        self.temporary.mkdir(parents=True, exist_ok=True)
        policy = self.folder / "policy.yaml"
        policy.write_text(POLICY)
        command = [*children.python("unlearn_guard"), "check", self.candidate, "--thresholds", policy, "--quiet"]
        more = {"UNLEARN_GUARD_CACHE": self.store, "TMPDIR": self.temporary, MARK: self.mark}
        return subprocess.Popen(
            [*map(str, command), "--out", str(self.out), "--junitxml", str(self.folder / "junit.xml")],
            env=children.environment() | {name: str(value) for name, value in more.items()},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "said").open("wb"),
            start_new_session=True,
        )

    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")[-2000:]

    def assert_gone(self) -> str | None:
        deadline = time.monotonic() + WITHIN
        while (left := list(marked(self.mark))) and time.monotonic() < deadline:
            time.sleep(0.1)
        return f"left behind: {left}" if left else None

    def empty(self) -> None:
        for each in (self.out, self.store, self.temporary):
            shutil.rmtree(each, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill: how, after how many seconds, with which end, and what is wrong with that."""

    way: str
    after: float
    became: str
    findings: list[str]


@dataclass(kw_only=True)
class Span:
    """How long a run lately took, from which the moments are drawn: resumed ones and idle machines take less."""

    seconds: float
    most: float

    def learn(self, took: float, *, done: bool) -> None:
        self.seconds = min(self.seconds, took) if done else min(self.most, self.seconds * 1.05)


def marked(mark: str) -> Iterator[str]:
    """The processes whose environment has the mark: what a check started, and what that did."""
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (each / "environ").read_bytes().split(b"\0"):
                yield f"{each.name} {(each / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()[:200]}"
        except OSError:
            continue


def result(out: Path) -> dict[str, object]:
    """Everything of a run but when it was made and how long it took."""
    content = json.loads((out / "run.json").read_text())
    return {name: content[name] for name in ("verdict", "checks", "measurements", "files", "tasks", "policy")}


def kill(guard: Guard, process: "subprocess.Popen[bytes]", way: str, after: float) -> tuple[str, list[str]]:
    """End the process after so many seconds; what became of it, and what is wrong with that."""
    try:
        process.wait(after)
        return f"done before ({process.returncode})", [] if process.returncode == 0 else [guard.said()]
    except subprocess.TimeoutExpired:
        pass
    number = signal.SIGKILL if way.startswith("KILL") else signal.SIGTERM
    if way.endswith("group"):
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    if way.endswith("then KILL"):
        time.sleep(random.random() * 0.3)
        process.kill()
    try:
        status = process.wait(60)
    except subprocess.TimeoutExpired:
        return "went on", ["SIGTERM did not end it within 60 s"]
    found = [each for each in [guard.assert_gone()] if each]
    if way.startswith("TERM") and status == 2 and "interrupted; the same command goes on" not in guard.said():
        found.append(f"it did not say what to do next: {guard.said()}")
    early = after < 1.0 and status == -signal.SIGTERM  # Python itself was starting
    allowed = {"TERM": (2, 0), "TERM group": (2, 0), "TERM then KILL": (2, 0, -9)}.get(way, (-9,))
    if status not in allowed and not early:
        found.append(f"status {status}: {guard.said()}")
    if status != 0 and (guard.out / "run.json").exists():
        found += [] if way.startswith("KILL") or "then" in way else ["a verdict stands"]
    return f"status {status}", found


def finish(guard: Guard) -> list[str]:
    """The same command to its end."""
    status = guard.start().wait()
    return [] if status == 0 else [f"the resumed run ended with {status}: {guard.said()}"]


def differences(guard: Guard, expected: dict[str, object]) -> list[str]:
    """What is wrong with a finished run."""
    if not (guard.out / "run.json").exists():
        return ["there is no run.json"]
    found = [each for each in [guard.assert_gone()] if each]
    got = result(guard.out)
    found += [f"{name} is not the undisturbed run's" for name in expected if got[name] != expected[name]]
    half = [*guard.store.rglob(f"{PREFIX}*"), *guard.out.rglob("*.tmp"), *guard.out.rglob(".earlier")]
    return found + [f"left: {path}" for path in half]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        help="Where to work; the candidate and the undisturbed run there are used again.  [default: a temporary one]",
    )
    asked = parser.parse_args()
    if asked.folder:
        return run(asked.folder, asked.kills, asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), asked.kills, asked.seed)


def prepared(folder: Path) -> tuple[Guard, dict[str, object], float]:
    """The candidate, what an undisturbed run says of it, and the seconds that took."""
    guard = Guard(folder=folder / "work", candidate=folder / "erased")
    kept = folder / "undisturbed.json"
    if not kept.exists():
        build = [*children.python("unlearn_guard"), "organism", "build", "erased", "--out", str(guard.candidate)]
        if not guard.candidate.exists():
            subprocess.run(build, env=children.environment(), check=True)
        guard.folder.mkdir(parents=True, exist_ok=True)
        guard.empty()
        begin = time.monotonic()
        if guard.start().wait() != 0:
            raise SystemExit(f"the undisturbed run did not pass: {guard.said()}")
        kept.write_text(json.dumps({"seconds": time.monotonic() - begin, **result(guard.out)}))
    expected = json.loads(kept.read_text())
    return guard, expected, expected.pop("seconds")


def history(guard: Guard, expected: dict[str, object], span: Span, drawn: random.Random, most: int) -> Iterator[Kill]:
    """Kills in a row over one run that begins with nothing, the last with what the run then came to."""
    guard.empty()
    count = drawn.randint(1, most)
    while count:
        way, after = drawn.choice(WAYS), drawn.uniform(0, span.seconds)
        begin = time.monotonic()
        became, findings = kill(guard, guard.start(), way, after)
        done = became.startswith("done")  # nothing was left to kill, and the run is looked at as it is
        span.learn(time.monotonic() - begin, done=done)
        count = 0 if done else count - 1
        if not count:
            findings += [] if done else finish(guard)
            findings += differences(guard, expected)
        yield Kill(way=way, after=round(after, 1), became=became, findings=findings)


def run(folder: Path, kills: int, seed: int) -> int:
    """Kills, with a line each; 1 where anything was found."""
    folder.mkdir(parents=True, exist_ok=True)
    guard, expected, seconds = prepared(folder)
    span = Span(seconds=seconds, most=seconds)
    measured = len(json.loads((folder / "undisturbed.json").read_text())["measurements"])
    print(f"undisturbed: {expected['verdict']}, {measured} measurements, {seconds:.1f} s", flush=True)
    became: Counter[str] = Counter()
    findings, histories = 0, 0
    while became.total() < kills:
        drawn = random.Random(f"{seed}.{histories}")
        for one in history(guard, expected, span, drawn, min(KILLS, kills - became.total())):
            if not one.became.startswith("done"):
                became[f"{one.way}: {one.became}"] += 1
            findings += len(one.findings)
            print(f"{became.total():4} {one.way:<15} after {one.after:5.1f} s: {one.became}", flush=True)
            for each in one.findings:
                print(f"     FOUND {each}", flush=True)
        histories += 1
        print(f"     run {histories} finished: {findings} findings so far", flush=True)
    print(f"{became.total()} kills over {histories} runs, {findings} findings")
    for name, count in sorted(became.items()):
        print(f"{count:4} {name}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
