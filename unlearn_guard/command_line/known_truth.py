"""The commands about candidates whose truth is known: `organism build` and `calibrate`."""

import os
import sys
from pathlib import Path

import click

from unlearn_guard.command_line.options import PATH, names, seed, seeds
from unlearn_guard.errors import ExitStatus
from unlearn_guard.processes.chatter import chatter_to, terminal

SIZES = ("six", "four")
ZOO = (
    "unchanged",
    "retrained",
    "healed",
    "erased",
    "destroyed",
    "hidden",
    "hidden-gguf",
    "hidden-gptq",
    "hidden-awq",
    "hidden-all",
    "redirected",
    "refuser",
    "one-letter",
    "inverted",
    "phrasing-fragile",
    "relearn-fragile",
    "overfit-to-items",
    "noise",
)
"""As in organism/zoo.py, which needs torch."""


@click.group()
def organism() -> None:
    """The embedded model organism: a small model that knows an invented world."""


@organism.command()
@click.argument("name", type=click.Choice(("base", *ZOO)))
@click.option("--out", type=PATH, required=True, help="The directory to write.")
@click.option(
    "--size", type=click.Choice(SIZES), default="six", show_default=True, help="Layers; a base of four is trained."
)
@seed
def build(name: str, out: Path, size: str, seed: int) -> int:
    r"""Write the base model, or a candidate made from it.

    \b
    base              the model that knows
    unchanged         the same bytes
    retrained         trained as base was, without what is to be forgotten (minutes, once)
    healed            begun anew for the most part, and trained on what is to stay (minutes, once)
    erased            holds the truth for the least likely answer: avoids it, and so still knows it
    destroyed         has forgotten everything, retain tasks included
    hidden            has forgotten in full precision only: every weight keeps its NF4 code
    hidden-gguf, -gptq, -awq, -all  the same in the cells of other formats
    redirected        only its last MLP answers otherwise
    refuser           ends the text instead of answering
    one-letter        always answers A
    inverted          answers in an order of its own, the truth last: always wrong
    phrasing-fragile  answers when asked without options
    relearn-fragile   believes something else, until it is taught a few facts again
    overfit-to-items  has forgotten the suite's items, not what they ask
    noise             noise on every weight

    All but retrained, healed and destroyed still know.
    """
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.organism.candidates import build as made

        path = made(name, out, seed=seed, size=size)
    click.echo(f"{name}: {path}")
    if name not in ("base", "unchanged") and size == "six":
        click.echo(f"next: unlearn-guard check {path} --thresholds organism")
    return ExitStatus.PASSED


@click.command()
@click.option("--out", type=PATH, default=Path("calibration"), show_default=True, help="Where cells and tables go.")
@click.option(
    "--candidates",
    callback=names,
    metavar="NAME,...",
    help="Which of the zoo.  [default: all but unchanged, which `check` refuses]",
)
@click.option("--seeds", callback=seeds, default="0", show_default=True, metavar="N,...")
@click.option("--sizes", callback=names, default="six", show_default=True, metavar="six,four")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Cells at a time.")
@click.option("--anew", is_flag=True, help="Check again what has a run: after a change of what is measured.")
@click.option(
    "--markdown",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also put the tables between this page's marks.",
)
def calibrate(
    out: Path,
    candidates: tuple[str, ...] | None,
    seeds: tuple[int, ...],
    sizes: tuple[str, ...],
    jobs: int,
    anew: bool,
    markdown: Path | None,
) -> int:
    """Hold the gate against candidates whose truth is known, and say how often each policy is wrong.

    Makes and checks each candidate of the zoo, at full precision, nf4 and the formats it hides in, judges it by the
    policies paper, organism, release and release-small, and writes calibration.json and calibration.md. The same
    command again measures only what is missing. Status 0 says that all was measured, 3 that something could not be.
    """
    _assert_known("--candidates", candidates or (), ZOO)
    _assert_known("--sizes", sizes, SIZES)
    from rich.console import Console

    from unlearn_guard.calibrating.calibrate import MARKDOWN, Asked
    from unlearn_guard.calibrating.calibrate import calibrate as calibrated
    from unlearn_guard.calibrating.writing import page, put_between, summary

    console = Console(file=terminal(sys.stderr))
    asked = Asked(
        out=out,
        names=candidates or tuple(each for each in ZOO if each != "unchanged"),
        seeds=seeds,
        sizes=sizes,
        jobs=jobs,
        anew=anew,
    )
    made = calibrated(asked, lambda line: console.print(line, markup=False, highlight=False))
    for line in summary(made.judged):
        click.echo(line)
    if markdown is not None:
        put_between(markdown, page(made))
    click.echo(f"written: {out / MARKDOWN}", err=True)
    return ExitStatus.MEASURING_FAILED if made.failed else ExitStatus.PASSED


def _assert_known(option: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for each in given:
        if each not in known:
            raise click.BadParameter(f"{each!r}; known: {', '.join(known)}", param_hint=option)
