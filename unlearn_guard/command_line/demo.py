"""The demonstration: an honest and a dishonest candidate, each judged by the policy `organism`.

`hidden` has forgotten in full precision, and every one of its weights rounds to base's NF4 code: whoever
loads it in 4 bits has base back. It must fail on `ptq_gap` at nf4, and `erased` must pass.
"""

import os
import sys
from pathlib import Path

from rich.console import Console

from unlearn_guard.checking.pipeline import check
from unlearn_guard.checking.request import Request
from unlearn_guard.errors import ExitStatus, UsageError
from unlearn_guard.organism.candidates import build
from unlearn_guard.processes.chatter import chatter_to, terminal
from unlearn_guard.processes.half_made import PREFIX
from unlearn_guard.records import Outcome, Run
from unlearn_guard.reports.progress import Bars
from unlearn_guard.reports.terminal import render

CAUGHT_ON = ("ptq_gap", "nf4")


def demo(out: Path) -> ExitStatus:
    """Build both, check both, print both verdicts. PASSED when the guard told them apart as it should."""
    if out.exists() and (not out.is_dir() or any(not _is_ours(path.name) for path in out.iterdir())):
        raise UsageError(f"{out} holds something else than a demo", fix="Give another directory: --out DIR.")
    console = Console()
    runs = {name: _one(name, out, console) for name in ("erased", "hidden")}
    told_apart = runs["erased"].verdict.passed and _caught(runs["hidden"])
    word = "The guard told them apart" if told_apart else "The guard did NOT tell them apart"
    console.print(
        f"\n{word}: `erased` {runs['erased'].verdict.word}, `hidden` {runs['hidden'].verdict.word}"
        f" ({', '.join(_broken(runs['hidden'])) or 'no limit broken'}).",
        markup=False,
    )
    return ExitStatus.PASSED if told_apart else ExitStatus.FAILED


def _is_ours(name: str) -> bool:
    return name in ("erased", "hidden", "runs") or name.startswith(PREFIX)  # what a killed demo left


def _one(name: str, out: Path, console: Console) -> Run:
    candidate = out / name
    if not candidate.exists():
        console.print(f"building {name} ...")
        with chatter_to(Path(os.devnull)):
            build(name, candidate)
    with Bars(Console(file=terminal(sys.stderr))) as bars, chatter_to(Path(os.devnull)):
        request = Request(
            checkpoint=str(candidate), thresholds="organism", out=out / "runs" / name, replace=True
        )  # the demo's own
        run, directory = check(request, bars)
    render(run, console, directory)
    return run


def _broken(run: Run) -> list[str]:
    return [check.id for check in run.verdict.checks if check.outcome is Outcome.FAILED]


def _caught(run: Run) -> bool:
    failed = [check.limit for check in run.verdict.checks if check.outcome is Outcome.FAILED]
    return any((limit.metric, limit.precision) == CAUGHT_ON for limit in failed)
