"""Every method on a pretrained model, made and judged by `compare`: the table of docs/real.md.

    python -m benchmarks.real --work DIR [--short | --limit N] [--only mansu,npo] [--seeds 0,1,2] [--write docs/real.md]

Fetches SmolLM2-135M where DIR/base is missing. What is in DIR already is not made again, so that it may be ended and
go on; with other code it begins anew. `--short` asks 60 items a task at full and nf4, and so decides little:
it is there to see the whole thing run. `--limit` asks the first N items of each task. `--write` puts the table between
the page's two marks.
"""

import argparse
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.methods import Asked, Row, ablate, between, compare, found, table
from unlearn_guard.processes import children

FORMATS = ("nf4", "gptq", "awq")
TELLABLE = 0.02
"""A gap that 1,500 items tell from none at the discordance seen (the log says how)."""

ROWS = (
    Row("mansu", "mansu"),
    Row("mansu, no floor (A)", "mansu", ("floor=none", "settle=0", "share=1")),
    Row("mansu, the paper's floor", "mansu", ("floor=paper", "settle=0", "share=1")),
    Row("mansu, random circuit (C i)", "mansu", ("circuit=random",)),
    Row("mansu, inverse circuit (C ii)", "mansu", ("circuit=inverse",)),
    *(Row(name, name) for name in ("npo", "grad_diff", "simnpo", "dpo", "simpo", "wga", "undial", "rmu")),
)
"""What is asked of real weights, the paper's own comparison first."""

SHORT = ("npo", "grad_diff")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run.json and what the table asks of it. Without an answer it says so in a word, never with a number."""

    json: Mapping[str, Any]
    seconds: str

    def values(self, metric: str, precision: str, role: str | None = None) -> list[Mapping[str, Any]]:
        """The candidate's measurements of this metric, by task of this role in the suite's order."""
        tasks = [each["name"] for each in self.json["tasks"] if role in (None, each["role"])]
        known = {
            each["task"]: each
            for each in self.json["measurements"]
            if (each["metric"], each["precision"]) == (metric, precision)
            and each["subject"] == self.json["candidate"]["digest"]
        }
        return [known[name] for name in (tasks if role else known) if name in known]

    def numbers(self, metric: str, precision: str, role: str | None = None, form: str = ".2f") -> str:
        """These, one after the other."""
        return " ".join(f"{each['value']:{form}}" for each in self.values(metric, precision, role)) or "not measured"

    def comes_back(self, precision: str) -> str:
        """The largest gap of the forget tasks, with its 95 % interval, McNemar's p, and what that says."""
        gaps = self.values("ptq_gap", precision, "forget")
        if not gaps:
            return "not measured"
        intervals = [next(one for one in each["intervals"] if one["confidence"] == 0.95) for each in gaps]
        worst = max(range(len(gaps)), key=lambda at: gaps[at]["value"])
        said = "cannot be told"
        if any(one["low"] > 0 for one in intervals):
            said = "comes back"
        elif all(one["high"] < TELLABLE for one in intervals):
            said = "does not"
        low, high = intervals[worst]["low"], intervals[worst]["high"]
        return f"{said}: {gaps[worst]['value']:+.3f} [{low:+.3f}, {high:+.3f}] p {gaps[worst]['p_value']:.2g}"

    def cells(self) -> list[str]:
        """One line of the table behind its name."""
        return [
            self.numbers("acc", "full", "forget"),
            *(self.comes_back(each) for each in FORMATS),
            self.numbers("acc", "full", "retain"),
            self.numbers("cad", "full"),
            self.numbers("as_nc", "full"),
            self.numbers("code_flip_rate", "nf4", form=".3f"),
            self.numbers("update_to_bin", "nf4", form=".4f"),
            self.seconds,
            self.json["verdict"],
        ]


HEAD = ("method", "seed", "forget, by phrasing", *(f"back at {each}?" for each in FORMATS), "retain and general")
HEAD += ("CAD", "AS-NC", "codes flipped", "update / bin", "seconds", "verdict")


def lines(rows: Iterable[Row], seeds: Sequence[int], work: Path, suite: str) -> list[list[str]]:
    """The table, a line for each row and seed."""
    made = []
    for row in rows:
        for seed in seeds:
            cell = found(row, work, seed, suite)
            if "error" in cell:
                made.append([row.label, str(seed), str(cell["error"]), *[""] * (len(HEAD) - 3)])
            else:
                made.append([row.label, str(seed), *Run(json=cell["run"], seconds=str(cell["seconds"])).cells()])  # type: ignore[arg-type]
    return made


def base(work: Path) -> Path:
    """SmolLM2-135M, fetched where it is missing."""
    if not (work / "base").exists():
        fetch = ["fetch", "smollm2-135m", "--out", str(work / "base")]
        subprocess.run([*children.python("unlearn_guard"), *fetch], env=children.environment(), check=True)
    return work / "base"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--suite", default="atlas")
    parser.add_argument("--limit", type=int, help="items a task; all by default")
    parser.add_argument("--only", default="", help="labels or methods of the table's rows, with commas")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    base(given.work)
    asked = [each.strip() for each in (given.only or ",".join(SHORT if given.short else ())).split(",") if each]
    rows = [row for row in ROWS if not asked or (row.method if not row.settings else row.label) in asked]
    seeds = [int(each) for each in given.seeds.split(",")]
    limit = 60 if given.short else given.limit
    how = ("--limit", str(limit)) if limit else ()
    how += ("--precisions", "full,nf4") if given.short else ()
    suite = "atlas-150" if given.short else given.suite
    asking = Asked(suite=suite, policy="paper", how=how, quiet=False)
    begin = time.monotonic()
    plain = ",".join(row.method for row in rows if not row.settings)
    if plain:
        which = ("--methods", plain, "--seeds", given.seeds, "--jobs", str(given.jobs))
        compare(given.work, *which, asked=asking)
    for row in (row for row in rows if row.settings):
        for seed in seeds:
            ablate(row, given.work, 1, seed, asking)
    print(table(HEAD, made := lines(rows, seeds, given.work, suite)))
    print(f"{time.monotonic() - begin:.0f} s")
    if given.write:
        between(given.write, "python -m benchmarks.real", table(HEAD, made))


if __name__ == "__main__":
    main()
