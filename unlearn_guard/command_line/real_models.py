"""`fetch` and `dequantize`: what is told while a pretrained model is made, and what can be done with it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unlearn_guard.errors import ExitStatus
from unlearn_guard.processes.chatter import chatter_to, terminal

if TYPE_CHECKING:
    from unlearn_guard.real.dequantizing import Dequantized


def fetch_command(name: str, out: Path, dtype: str) -> ExitStatus:
    """Get a pretrained model by its name."""
    stream = terminal(sys.stderr)
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.real.fetching import fetch

        made = fetch(name, out, dtype=dtype, tell=lambda text: click.echo(text, file=stream))
    return _told(made)


def dequantize_command(file: Path, out: Path, dtype: str) -> ExitStatus:
    """Make a checkpoint of a GGUF file."""
    stream = terminal(sys.stderr)
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.real.dequantizing import dequantize

        made = dequantize(file, out, dtype=dtype, tell=lambda text: click.echo(text, file=stream))
    return _told(made)


def _told(made: "Dequantized") -> ExitStatus:
    click.echo(f"{made.path}: {made.parameters / 1e6:,.1f} M parameters, digest {made.digest}")
    click.echo(f"gguf sha256: {made.source}")
    click.echo(f"next: unlearn-guard unlearn METHOD --base {made.path} --suite NAME --out DIR")
    return ExitStatus.PASSED
