"""How the result of `check` and `judge` is told: in words, in all words, or as JSON; and the hints under it."""

import json
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from unlearn_guard.judging.gate import exit_status
from unlearn_guard.organism import EMBEDDED
from unlearn_guard.records import Run
from unlearn_guard.reports import other_policy
from unlearn_guard.reports.terminal import render
from unlearn_guard.runs.run_json import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What the user asked to be told."""

    as_json: bool = False
    verbose: bool = False

    def tell(self, run: Run, directory: Path, *, measured: bool) -> None:
        """Print the result; `measured`: by this very command, so that the times of its stages are news."""
        if self.as_json:
            told = {
                "status": int(exit_status(run.verdict)),
                "directory": str(directory),
                "other_policy": other_policy.as_json(run),
                **encode(run),
            }
            click.echo(json.dumps(told, indent=1, allow_nan=False))
            return
        render(run, Console(), directory, verbose=self.verbose, measured=measured)
        for hint in hints(run):
            click.echo(f"hint: {hint}", err=True)


def hints(run: Run) -> tuple[str, ...]:
    """What may be wrong with the command rather than with the candidate."""
    if run.verdict.passed or run.base.digest not in EMBEDDED.values() or run.policy.path == "organism":
        return ()
    return (
        "base is the embedded organism, whose circuit is so small that it has limits of its own: "
        "--thresholds organism (why: unlearn-guard policy show organism)",
    )
