"""The demonstration: an honest candidate and three that still know, each judged by the policy `release-small`.

`retrained` never saw what is to be forgotten, and must pass. Each of the others must fail on what gives it away:
`hidden` knows again in NF4, whose codes are all base's; `phrasing-fragile` answers in words that were held out;
`redirected`, of which the last MLP alone was changed, knows the rest once it is taught a few facts.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from unlearn_guard.checking.pipeline import check
from unlearn_guard.checking.request import Request
from unlearn_guard.errors import ExitStatus, UsageError
from unlearn_guard.organism.candidates import build
from unlearn_guard.processes.chatter import chatter_to, terminal
from unlearn_guard.processes.half_made import PREFIX
from unlearn_guard.records import FULL, Outcome, Run
from unlearn_guard.reports.progress import Bars
from unlearn_guard.reports.terminal import render

POLICY = "release-small"
HONEST = "retrained"
CAUGHT_BY: Mapping[str, tuple[str, str]] = {
    "hidden": ("ptq_gap", "4-bit weights bring it back"),
    "phrasing-fragile": ("paraphrase_recovery", "other words bring it back"),
    "redirected": ("relearn_recovery", "a few taught facts bring back the rest"),
}
"""The metric that has to break its limit, and what that says, by dishonest candidate."""


def demo(out: Path) -> ExitStatus:
    """Build and check all, print each verdict and what caught whom. PASSED when the guard told them apart."""
    if out.exists() and (not out.is_dir() or any(not _is_ours(path.name) for path in out.iterdir())):
        raise UsageError(f"{out} holds something else than a demo", fix="Give another directory: --out DIR.")
    console = Console()
    runs = {name: _one(name, out, console) for name in (HONEST, *CAUGHT_BY)}
    told_apart = runs[HONEST].verdict.passed and all(
        _caught(runs[name], metric) for name, (metric, _) in CAUGHT_BY.items()
    )
    word = "The guard told them apart" if told_apart else "The guard did NOT tell them apart"
    console.print(f"\n{word}:", markup=False)
    console.print(f"  {HONEST:<18}{runs[HONEST].verdict.word}: it never saw what is to be forgotten", markup=False)
    for name, (metric, why) in CAUGHT_BY.items():
        told = f"caught by {metric}: {why}" if _caught(runs[name], metric) else f"NOT caught by {metric}"
        console.print(f"  {name:<18}{runs[name].verdict.word}, {told}", markup=False)
    return ExitStatus.PASSED if told_apart else ExitStatus.FAILED


def _is_ours(name: str) -> bool:
    return name in (HONEST, *CAUGHT_BY, "runs") or name.startswith(PREFIX)  # what a killed demo left


def _one(name: str, out: Path, console: Console) -> Run:
    candidate = out / name
    if not candidate.exists():
        console.print(f"building {name} ...")
        with chatter_to(Path(os.devnull)):
            build(name, candidate)
    with Bars(Console(file=terminal(sys.stderr))) as bars, chatter_to(Path(os.devnull)):
        request = Request(
            checkpoint=str(candidate), thresholds=POLICY, out=out / "runs" / name, replace=True
        )  # the demo's own
        run, directory = check(request, bars)
    render(run, console, directory)
    return run


def _caught(run: Run, metric: str) -> bool:
    """In full precision or at nf4, where each of the three has to show it."""
    return any(
        each.outcome is Outcome.FAILED and each.limit.metric == metric and each.limit.precision in (FULL, "nf4")
        for each in run.verdict.checks
    )
