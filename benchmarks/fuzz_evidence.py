"""Bent evidence, by the ten thousand: `python -m benchmarks.fuzz_evidence --inputs 100000 --seed 0 --jobs 2`.

Run directories, policies, suites, statements and store entries with one to three changes, most of them repaired as a
forger would; seed and index decide them. Findings: a traceback, a hang, a status that the command does not have, and a
PASSED that the answers do not bear out (benchmarks/fuzzing/borne_out.py). Exit status 1 where there is any.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

from benchmarks.fuzzing import borne_out
from benchmarks.fuzzing.evidence import KEY, TARGETS, Input, World, bend, draw, world
from benchmarks.fuzzing.guard import HangError, alarm
from benchmarks.fuzzing.pool import in_chunks

CHUNK = 500
SECONDS = 5.0
STATUSES = {"run": (0, 1, 4, 5), "policy": (0, 1, 4, 5), "suite": (0, 4), "statement": (0, 1, 4, 5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one input: the command's status (of a store entry 0 where it was served) and what was found."""

    one: Input
    status: int
    finding: str | None = None


def try_one(one: Input, made: World, folder: Path) -> Outcome:
    """Bend, ask the command that reads it, and hold a PASSED against the answers."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bend(one, made, folder)
    words, status = StringIO(), -1
    try:
        with redirect_stdout(words), redirect_stderr(words), alarm(SECONDS):
            status = _served(folder) if one.target == "store" else _asked(one.target, folder)
    except HangError:
        return Outcome(one=one, status=status, finding=f"hang: over {SECONDS:.0f} s")
    except BaseException as error:
        return Outcome(one=one, status=status, finding=f"traceback: {type(error).__name__}: {error}"[:600])
    said = words.getvalue()
    if "Traceback (most recent call last)" in said:
        return Outcome(one=one, status=status, finding=f"traceback: {said[-600:]}")
    if status not in STATUSES.get(one.target, (0, 4)):
        return Outcome(one=one, status=status, finding=f"status {status}: {said[-600:]}")
    return Outcome(one=one, status=status, finding=_unborne(one, made, folder) if status == 0 else None)


def _asked(target: str, folder: Path) -> int:
    from unlearn_guard.command_line import app as cli

    commands = {
        "run": ["judge", str(folder / "run")],
        "policy": ["judge", str(folder / "run"), "--thresholds", str(folder / "policy.yaml")],
        "suite": ["policy", "show", "paper", "--suite", str(folder / "suite.yaml")],
        "statement": ["verify", str(folder / "statement.json"), str(folder / "checkpoint")],
    }
    if target == "policy":
        cli.run(["policy", "show", str(folder / "policy.yaml")])
    return int(cli.run(commands[target]))


def _served(folder: Path) -> int:
    """0 where a store serves the bent entry, 4 where it does not."""
    from unlearn_guard.runs.store import Store

    store = Store(folder / "store")
    place = store._entry(KEY)
    place.parent.mkdir(parents=True)
    (folder / "entry").rename(place)
    return 4 if store.get_json(KEY) is None else 0


def _unborne(one: Input, made: World, folder: Path) -> str | None:
    """Why a status 0 is not borne out, or None."""
    if one.target in ("run", "policy"):
        policy = (folder / "policy.yaml").read_text("utf-8-sig") if one.target == "policy" else None
        try:
            broken = borne_out.broken(folder / "run", policy)
        except Exception as error:  # what the oracle cannot read the guard should not have passed
            return f"PASSED what cannot be read: {type(error).__name__}: {error}"
        return f"PASSED, not borne out: {'; '.join(broken)}" if broken else None
    if one.target == "statement" and not one.passing:
        return "PASSED from the statement of a failed run"
    if one.target == "store":
        from unlearn_guard.reading import strict_json

        store_entry = strict_json.loads(made.entry)
        bent = strict_json.loads((next((folder / "store").rglob(f"{KEY}.json"))).read_bytes())
        return None if bent["payload"] == store_entry["payload"] else "a bent entry was served"
    return None


_state: tuple[World, Path] | None = None


def chunk(indices: range, *, seed: int, only: str | None, scratch: Path) -> list[Outcome]:
    """The outcomes of these indices, in a process that keeps its world."""
    global _state
    if _state is None:
        root = Path(tempfile.mkdtemp(dir=scratch))
        os.environ["XDG_DATA_HOME"] = os.environ["XDG_CONFIG_HOME"] = str(root / "home")
        os.environ["UNLEARN_GUARD_CACHE"] = str(root / "cache")
        _state = world(root / "world"), root / "input"
    made, folder = _state
    return [try_one(draw(seed, index, only), made, folder) for index in indices]


def outcomes(arguments: argparse.Namespace, scratch: Path) -> Iterator[list[Outcome]]:
    """Chunk by chunk, as they end."""
    made = partial(chunk, seed=arguments.seed, only=arguments.only, scratch=scratch)
    return in_chunks(made, arguments.start, arguments.inputs, size=CHUNK, jobs=arguments.jobs)


def table(found: list[Outcome]) -> str:
    """Inputs by target and status."""
    lines = [f"{'target':<12}{'inputs':>9}{'status 0':>10}{'1':>8}{'4':>8}{'5':>8}{'findings':>10}"]
    for name in (*TARGETS, "all"):
        rows = [each for each in found if name in ("all", each.one.target)]
        counts = Counter(each.status for each in rows)
        findings = sum(each.finding is not None for each in rows)
        shares = "".join(f"{counts[status]:>8}" for status in (1, 4, 5))
        lines.append(f"{name:<12}{len(rows):>9}{counts[0]:>10}{shares}{findings:>10}")
    return "\n".join(lines)


def main() -> int:
    """Run the inputs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="The first index; with --inputs 1 that input alone.")
    parser.add_argument("--only", choices=sorted(TARGETS), help="Inputs of one target.")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    found: list[Outcome] = []
    begin = time.monotonic()
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bent-", dir=fast, ignore_cleanup_errors=True) as scratch:
        for done in outcomes(arguments, Path(scratch)):
            found += done
            for each in (each for each in done if each.finding):
                print(f"FINDING --seed {arguments.seed} --start {each.one.index} ({each.one.target}): {each.finding!r}")
            rate = len(found) / (time.monotonic() - begin)
            print(f"{len(found)} inputs, {rate:.0f} a second", file=sys.stderr, flush=True)
    print(table(found))
    return 1 if any(each.finding for each in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
