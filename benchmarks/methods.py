"""Every method on the embedded organism, made and judged by `compare`: the table of docs/methods.md.

    python benchmarks/methods.py --work DIR [--jobs 2] [--only mansu,npo] [--write docs/methods.md]

All methods are one comparison, and each ablation joins it; what is in DIR already is not made again. `--write` puts
the table between the page's two marks. Prints what the comparison of all methods took.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.processes import children

PRECISIONS = ("nf4", "gptq", "awq")


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, the method, and what is set beside the suite's hyperparameters."""

    label: str
    method: str
    settings: tuple[str, ...] = ()

    @property
    def grid(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.settings)


ROWS = (
    Row("mansu", "mansu"),
    Row("mansu, no floor (A)", "mansu", ("floor=none", "settle=0", "steps=250")),
    Row("mansu, no projection (B)", "mansu", ("projection=none",)),
    Row("mansu, 2 MLPs", "mansu", ("k=2",)),
    Row("mansu, 2 MLPs, random (C i)", "mansu", ("k=2", "circuit=random")),
    Row("mansu, 2 MLPs, inverse (C ii)", "mansu", ("k=2", "circuit=inverse")),
    Row("mansu, global null space (D)", "mansu", ("projection=global",)),
    Row("mansu, the paper's floor", "mansu", ("floor=paper", "settle=0", "share=1", "steps=250")),
    *(Row(name, name) for name in ("global_ga", "surgical_ga", "npo", "simnpo", "gu_simnpo", "lunar")),
    *(Row(name, name) for name in ("grad_diff", "rmu", "sure", "gu", "dpo", "simpo", "undial", "wga")),
    *(Row(name, name) for name in ("altpo", "satimp", "ceu", "pdu", "flat", "scrub")),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a table's cells are asked, and how: `how` are further options of `compare`."""

    suite: str = "organism"
    policy: str = "organism"
    how: tuple[str, ...] = ()
    quiet: bool = True


def compare(work: Path, *which: str, asked: Asked, threads: int | None = None) -> None:
    """Measure these cells where they are missing."""
    command = [*children.python("unlearn_guard"), "compare", "--base", str(work / "base")]
    command += ["--suites", asked.suite, "--thresholds", asked.policy, "--out", str(work / "compared")]
    command += [*which, *asked.how, *(["--quiet"] if asked.quiet else [])]
    environment = children.environment() | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=None, check=False, env=environment)
    if done.returncode not in (0, 3):
        sys.exit(f"compare ended with {done.returncode}")


def ablate(row: Row, work: Path, jobs: int, seed: int = 0, asked: Asked = Asked()) -> None:
    """One cell of its own: a grid file tries each value with each of the others, and an ablation is one point."""
    grid = work / f"{'-'.join((row.method, *row.settings)).replace('=', '-')}.yaml"
    grid.write_text(json.dumps({row.method: row.grid}))  # JSON is YAML
    which = ["--methods", row.method, "--seeds", str(seed), *(["--grid", str(grid)] if row.settings else [])]
    compare(work, *which, asked=asked, threads=max(1, (os.cpu_count() or 1) // jobs))


def found(row: Row, work: Path, seed: int = 0, suite: str = "organism") -> dict[str, object]:
    """The row's run as JSON and the seconds of its unlearning, or why there is none."""
    for path in work.glob("compared/cells/*/cell.json"):
        cell = json.loads(path.read_text())
        if (cell["method"], cell["suite"], cell["settings"], cell["seed"]) != (row.method, suite, row.grid, seed):
            continue
        if cell["state"] != "measured":
            return {"error": cell["error"] or cell["state"]}
        run = json.loads((path.parent / "run" / "run.json").read_text())
        return {"run": run, "seconds": f"{cell['seconds'] - run['seconds']:.0f}"}
    return {"error": "not measured"}


def cells(label: str, found: dict[str, object]) -> list[str]:
    """One line of the table, from a run directory."""
    if "error" in found:
        return [label, f"failed: {found['error']}", *[""] * 11]
    run = found["run"]
    assert isinstance(run, dict)
    value = {(m["metric"], m["task"], m["precision"]): m["value"] for m in run["measurements"] if _of(run, m)}
    acc = {key[1:]: number for key, number in value.items() if key[0] == "acc"}
    gaps = [
        max(value["ptq_gap", task, name] for task in ("organism_forget", "organism_forget_plain"))
        for name in PRECISIONS
    ]
    broken = sorted({check["metric"] for check in run["checks"] if check["outcome"] != "passed"})
    return [
        label,
        f"{acc['organism_forget', 'full']:.2f} / {acc['organism_forget_plain', 'full']:.2f}",
        *(f"{gap:+.3f}" for gap in gaps),
        f"{min(acc[f'organism_retain{form}', 'full'] for form in ('', '_plain')):.2f}",
        f"{min(acc[f'organism_general{form}', 'full'] for form in ('', '_plain')):.2f}",
        f"{value['cad', 'organism_forget', 'full']:.2f}",
        f"{value['as_nc', 'organism_forget', 'full']:.2f}",
        f"{value['code_flip_rate', 'weights', 'nf4']:.2f}",
        str(found["seconds"]),
        run["verdict"],
        ", ".join(broken),
    ]


def _of(run: dict[str, object], measurement: dict[str, object]) -> bool:
    candidate = run["candidate"]
    assert isinstance(candidate, dict)
    return measurement["subject"] == candidate["digest"]


HEAD = ("method", "forget", *(f"gap {name}" for name in PRECISIONS), "retain", "general", "CAD", "AS-NC", "flips")
HEAD += ("seconds", "verdict", "limits broken")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *lines])


def between(page: Path, command: str, text: str) -> None:
    """Replace what stands in the page between the command's two marks."""
    marks = (f"<!-- table: {command} -->", "<!-- end of table -->")
    before, rest = page.read_text(encoding="utf-8").split(marks[0])
    page.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{rest.split(marks[1], 1)[1]}", encoding="utf-8")


def base(work: Path) -> None:
    """Build the organism's base where it is missing."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "base").exists():
        build = ["organism", "build", "base", "--out", str(work / "base")]
        subprocess.run([*children.python("unlearn_guard"), *build], env=children.environment(), check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    base(given.work)
    wanted = [row for row in ROWS if not given.only or row.method in given.only.split(",")]
    begin = time.monotonic()
    plain = ",".join(row.method for row in wanted if not row.settings)
    compare(given.work, "--methods", plain, "--jobs", str(given.jobs), asked=Asked())
    print(f"{plain}: {time.monotonic() - begin:.0f} s")
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda row: ablate(row, given.work, given.jobs), [row for row in wanted if row.settings]))
    lines = [cells(row.label, found(row, given.work)) for row in wanted]
    print(table(HEAD, lines))
    if given.write:
        between(given.write, "python benchmarks/methods.py", table(HEAD, lines))


if __name__ == "__main__":
    main()
