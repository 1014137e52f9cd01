"""What a candidate's maker can write, by the ten thousand: `python -m benchmarks.fuzz --inputs 100000 --seed 0`.

Each input is a sound candidate with one to three changes; seed and index decide them, so that a finding is had again by
`--seed S --index I`. Findings: a traceback, a hang, a status other than 0 and 4, and status 0 where the model that
a user loads is not the one that the guard would judge (benchmarks/fuzzing/oracle.py). Exit status 1 where there is any.
"""

import argparse
import faulthandler
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.fuzzing.checkpoints import KINDS, World, put, world
from benchmarks.fuzzing.guard import HangError, alarm, inspect, install
from benchmarks.fuzzing.oracle import LoudError, Oracle
from benchmarks.fuzzing.pool import in_chunks
from benchmarks.fuzzing.targets import TARGETS, Input, build, draw

CHUNK = 250
DEAD_AFTER = 60
"""Seconds after which a process that no alarm wakes is ended, with the stack on stderr."""


ENDS = ("refused", "opened", "refused by check", "loud", "unwritten")
"""Status 4; status 0, held against what a user loads; status 0, and `check` asks more; status 0, and the user's own
load is an error; and two changes that no file system holds together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one input; `end` is one of ENDS, `seconds` how long the command took."""

    one: Input
    end: str
    seconds: float
    finding: str | None = None
    loud: str = ""


class Session:
    """Worlds, oracles and folders of one process."""

    def __init__(self, kinds: tuple[str, ...], scratch: Path) -> None:
        _quiet()
        self.kinds = kinds
        self.root = Path(tempfile.mkdtemp(dir=scratch))
        os.environ["UNLEARN_GUARD_CACHE"] = str(self.root / "store")
        self.worlds: dict[str, World] = {kind: world(kind, self.root / "made") for kind in kinds}
        for kind in kinds:
            put(self.worlds[kind].base, self.base(kind))
        install([self.base(kind) for kind in kinds])
        self.oracles = {kind: Oracle(self.base(kind)) for kind in kinds}

    def base(self, kind: str) -> Path:
        """Where the base of this world lies."""
        return self.root / kind / "base"

    def run(self, one: Input) -> Outcome:
        """Write one input, inspect it, and where it is accepted hold it against what a user loads."""
        candidate = self.root / one.kind / "candidate"
        shutil.rmtree(candidate, ignore_errors=True)
        try:
            put(build(one, self.worlds[one.kind]), candidate)
        except OSError:  # two changes that no file system holds together
            return Outcome(one=one, end="unwritten", seconds=0.0)
        begin = time.monotonic()
        status, _, fault = inspect(candidate, self.base(one.kind))
        seconds = time.monotonic() - begin
        if fault is None and status == 0:
            return self._held(one, candidate, seconds)
        return Outcome(one=one, end="refused", seconds=seconds, finding=fault)

    def _held(self, one: Input, candidate: Path, seconds: float) -> Outcome:
        from unlearn_guard.errors import GuardError

        try:
            with alarm(60):
                found = list(self.oracles[one.kind].differences(candidate))
        except LoudError as error:
            return Outcome(one=one, end="loud", seconds=seconds, loud=str(error))
        except GuardError as error:  # `check` asks one thing more: that something was edited
            finding = None if error.exit_status == 4 else f"check would fail: {error}"
            return Outcome(one=one, end="refused by check", seconds=seconds, finding=finding)
        except HangError:
            return Outcome(one=one, end="opened", seconds=seconds, finding="hang while loading")
        except Exception as error:
            return Outcome(
                one=one, end="opened", seconds=seconds, finding=f"check would crash: {type(error).__name__}: {error}"
            )
        return Outcome(
            one=one, end="opened", seconds=seconds, finding="differs: " + "; ".join(found) if found else None
        )

    def smallest(self, outcome: Outcome) -> Outcome:
        """The same kind of finding with as few of the changes as show it."""
        steps = outcome.one.steps
        for count in range(len(steps)):
            for some in itertools.combinations(steps, count):
                for decoys in sorted({False, outcome.one.decoys}):
                    again = self.run(replace(outcome.one, steps=some, decoys=decoys))
                    if again.finding and again.finding[:12] == (outcome.finding or "")[:12]:
                        return again
        return outcome

    def save(self, outcome: Outcome, out: Path) -> None:
        """Keep what differs from the sound candidate, and what was found."""
        folder = out / f"{outcome.one.target}-{outcome.one.index}"
        shutil.rmtree(folder, ignore_errors=True)
        sound = self.worlds[outcome.one.kind].candidate
        files = build(outcome.one, self.worlds[outcome.one.kind])
        put({name: raw for name, raw in files.items() if sound.get(name) is not raw}, folder)
        text = {**asdict(outcome.one), "gone": sorted(set(sound) - set(files)), "finding": outcome.finding}
        (folder / "finding.json").write_text(json.dumps(text, indent=2))


def _fast() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _quiet() -> None:
    import logging
    import warnings

    import torch
    import transformers

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()


_session: Session | None = None


def chunk(
    indices: range, *, seed: int, kinds: tuple[str, ...], only: str | None, out: Path, scratch: Path
) -> list[Outcome]:
    """The outcomes of these indices, in a process that keeps its worlds."""
    global _session
    if _session is None:
        _session = Session(kinds, scratch)
    done = []
    for index in indices:
        (out / f".at-{os.getpid()}").write_text(str(index))
        faulthandler.dump_traceback_later(DEAD_AFTER, exit=True)
        outcome = _session.run(draw(seed, index, kinds, only))
        if outcome.finding:
            outcome = _session.smallest(outcome)
            _session.save(outcome, out)
        done.append(outcome)
    faulthandler.cancel_dump_traceback_later()
    return done


def outcomes(arguments: argparse.Namespace, scratch: Path) -> Iterator[list[Outcome]]:
    """The outcomes of all inputs, chunk by chunk as they end."""
    alone = arguments.index is not None
    made = partial(
        chunk,
        seed=arguments.seed,
        kinds=tuple(arguments.kinds.split(",")),
        only=arguments.only,
        out=arguments.out,
        scratch=scratch,
    )
    first, count = (arguments.index, 1) if alone else (arguments.start, arguments.inputs)
    return in_chunks(made, first, count, size=CHUNK, jobs=arguments.jobs)


def table(found: list[Outcome]) -> str:
    """Inputs by target: how they ended, and the slowest."""
    heads = ("inputs", "refused", "opened", "by check", "loud", "unwritten", "findings", "slowest, s")
    lines = [f"{'target':<12}" + "".join(f"{head:>11}" for head in heads)]
    by_target: dict[str, list[Outcome]] = defaultdict(list)
    for each in found:
        by_target[each.one.target].append(each)
    for name, rows in [*sorted(by_target.items()), ("all", found)]:
        ends = Counter(each.end for each in rows)
        counts = (len(rows), *(ends[end] for end in ENDS), sum(each.finding is not None for each in rows))
        slowest = max((each.seconds for each in rows), default=0)
        lines.append(f"{name:<12}" + "".join(f"{count:>11}" for count in counts) + f"{slowest:>11.2f}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="The first index: go on where an earlier run ended.")
    parser.add_argument("--index", type=int, help="This input alone.")
    parser.add_argument("--only", choices=sorted(TARGETS), help="Inputs of one target.")
    parser.add_argument("--kinds", default=",".join(KINDS), help="Model types, by comma.")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="Where findings are saved.")
    return parser.parse_args()


def _told(arguments: argparse.Namespace, each: Outcome) -> str:
    again = f"--seed {arguments.seed} --index {each.one.index} --kinds {arguments.kinds}"
    again += f" --only {arguments.only}" if arguments.only else ""
    words = each.finding or ""
    shown = words if len(words) <= 750 else f"{words[:250]} ... {words[-500:]}"  # a traceback's end says what it was
    return f"FINDING {again} ({each.one.kind}, {each.one.target}): {shown!r}"


def main() -> int:
    """Run the inputs that the command line asks for."""
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: list[Outcome] = []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast(), ignore_cleanup_errors=True) as scratch:
        try:
            for done in outcomes(arguments, Path(scratch)):
                found += done
                for each in (each for each in done if each.finding):
                    print(_told(arguments, each), flush=True)
                rate = len(found) / (time.monotonic() - begin)
                print(f"{len(found)} inputs, {rate:.0f} a second", file=sys.stderr, flush=True)
        except BrokenProcessPool:
            last = sorted(path.read_text() for path in arguments.out.glob(".at-*"))
            print(f"FINDING a process died or hung for {DEAD_AFTER} s at one of the indices {', '.join(last)}")
            return 1
    print(table(found))
    for text, count in Counter(each.loud for each in found if each.loud).most_common(12):
        print(f"  loud {count:>6}  {text!r}")
    return 1 if any(each.finding for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
