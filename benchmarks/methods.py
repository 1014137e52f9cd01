"""Every method on the embedded organism, made and judged by the real commands: the table of docs/methods.md.

    python benchmarks/methods.py --work DIR [--only mansu,npo] [--write docs/methods.md]

A row's candidate and run directory stay in DIR, and what is there already is not made again. `--write` puts the table
between the page's two marks.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MARKS = ("<!-- table: python benchmarks/methods.py -->", "<!-- end of table -->")
PRECISIONS = ("nf4", "gptq", "awq")


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, the method, and what is set beside the suite's hyperparameters."""

    label: str
    method: str
    settings: tuple[str, ...] = ()


ROWS = (
    Row("mansu", "mansu"),
    Row("mansu, no floor (A)", "mansu", ("floor=none", "settle=0")),
    Row("mansu, no projection (B)", "mansu", ("projection=none",)),
    Row("mansu, 2 MLPs", "mansu", ("k=2",)),
    Row("mansu, 2 MLPs, random (C i)", "mansu", ("k=2", "circuit=random")),
    Row("mansu, 2 MLPs, inverse (C ii)", "mansu", ("k=2", "circuit=inverse")),
    Row("mansu, global null space (D)", "mansu", ("projection=global",)),
    Row("mansu, the paper's floor", "mansu", ("floor=paper", "settle=0", "share=1")),
    *(Row(name, name) for name in ("global_ga", "surgical_ga", "npo", "simnpo", "gu_simnpo", "lunar")),
    *(Row(name, name) for name in ("grad_diff", "rmu", "sure", "gu", "dpo", "undial", "wga")),
)


def guard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unlearn_guard", *arguments], capture_output=True, text=True, check=False
    )


def measure(row: Row, work: Path, base: Path) -> dict[str, object]:
    """Make the row's candidate and judge it; what either command says no with goes into the table."""
    folder = work / "-".join([row.method, *row.settings]).replace("=", "-")
    candidate, run = folder / "candidate", folder / "run"
    if not candidate.exists():
        begin = time.monotonic()
        settings = [part for each in row.settings for part in ("--set", each)]
        made = guard(
            "unlearn", row.method, "--base", str(base), "--suite", "organism", "--out", str(candidate), *settings
        )
        if made.returncode != 0:
            return {"error": made.stderr.strip().splitlines()[-1]}
        (folder / "seconds").write_text(f"{time.monotonic() - begin:.0f}")
    if not (run / "run.json").exists():
        judged = guard("check", str(candidate), "--thresholds", "organism", "--out", str(run))
        if judged.returncode not in (0, 1, 5):
            return {"error": judged.stderr.strip().splitlines()[-1]}
    return {"run": json.loads((run / "run.json").read_text()), "seconds": (folder / "seconds").read_text()}


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


def markdown(lines: list[list[str]]) -> str:
    rows = [list(HEAD), ["---"] * len(HEAD), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    base = given.work / "base"
    if not base.exists():
        guard("organism", "build", "base", "--out", str(base))
    wanted = [row for row in ROWS if not given.only or row.method in given.only.split(",")]
    lines = []
    for row in wanted:
        lines.append(cells(row.label, measure(row, given.work, base)))
        print(" | ".join(lines[-1]), flush=True)
    if given.write:
        text = given.write.read_text(encoding="utf-8")
        before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
        given.write.write_text(f"{before}{MARKS[0]}\n{markdown(lines)}\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
