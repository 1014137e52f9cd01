"""The command line: parse, call one function, turn the outcome into an exit status. No logic.

click rather than typer: every usage error has to end with status 4, and typer keeps the exceptions of
the click inside it private.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from unlearn_guard import __version__
from unlearn_guard.command_line.around import AROUND
from unlearn_guard.command_line.examples import add_examples
from unlearn_guard.command_line.importing import IMPORTING
from unlearn_guard.command_line.options import (
    EPILOG,
    PATH,
    device,
    dtype,
    finding,
    json_output,
    listed,
    lora,
    measuring,
    methods_dir,
    pairs,
    seed,
    verbosity,
)
from unlearn_guard.command_line.serving import SERVING
from unlearn_guard.command_line.statements import STATEMENTS
from unlearn_guard.errors import ExitStatus, GuardError, StorageError
from unlearn_guard.processes.children import keep_safe
from unlearn_guard.processes.collecting import uncollected
from unlearn_guard.processes.interruption import asked, leave, remembered

COMPLETION = "_UNLEARN_GUARD_COMPLETE"
"""The variable that a shell's completion script sets; click answers it."""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unlearn-guard")
def app() -> None:
    """Has this language model really unlearned, and does it stay unlearned at 4 bits?"""


def main() -> None:
    """Run the command line and leave with its exit status."""
    if COMPLETION in os.environ:  # a shell asks what could follow
        app(prog_name="unlearn-guard")
    keep_safe()
    with remembered():
        try:
            status = run(sys.argv[1:])
            leave(status)
        except KeyboardInterrupt:  # another one, while the first was being told
            leave(ExitStatus.INTERRUPTED)


def run(arguments: list[str]) -> int:
    """One command line, from arguments to exit status. Only this function prints errors."""
    try:
        return int(app.main(arguments, prog_name="unlearn-guard", standalone_mode=False) or ExitStatus.PASSED)
    except BaseException as error:
        # An interrupt may come out of a library as any error, as one that its process died.
        if asked() or isinstance(error, (KeyboardInterrupt, click.Abort)):
            click.echo("interrupted; the same command goes on where this one stopped", err=True)
            return ExitStatus.INTERRUPTED
        return _told(error)


def _told(error: BaseException) -> int:
    """Print what ended a command; its exit status."""
    if isinstance(error, click.ClickException):
        error.show()
        return ExitStatus.USAGE
    if isinstance(error, SystemExit) and type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):  # click's
        click.echo("error: whoever read the output stopped (`| head`, a closed pager); it was not told whole", err=True)
        return ExitStatus.MEASURING_FAILED
    if isinstance(error, OSError):
        error = StorageError(f"{error.strerror or error}: {error.filename or 'a file'}")
    if isinstance(error, GuardError):
        click.echo(f"error: {_printable(str(error))}", err=True)
        return error.exit_status
    # Python itself would leave with 1, which here says that a limit was measured and broken; a library that ends
    # the process with 0 would say that every limit held.
    click.echo(_printable("".join(traceback.format_exception(error))), err=True)
    click.echo("error: a fault of unlearn-guard or of a library; there is no verdict", err=True)
    return ExitStatus.MEASURING_FAILED


def _printable(text: str) -> str:
    """Text without what could steer a terminal; line breaks are ours."""
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


@app.command(epilog=EPILOG)
@click.argument("checkpoint")
@click.option(
    "--base", metavar="PATH", help="The model before unlearning: a directory or a hub id, ORG/NAME[@REVISION]."
)
@click.option("--suite", metavar="NAME", help="Which questions to ask: a suite's name or its YAML file.")
@click.option(
    "--artifact",
    "artifacts",
    metavar="PRECISION=PATH",
    multiple=True,
    callback=pairs("PRECISION=PATH, as in gptq=./model-gptq"),
    help="Score this quantized model instead of making one.",
)
@click.option(
    "--retrained",
    metavar="PATH",
    help="A model that never saw the forget set: what probes (privleak) and forget tasks are compared with.",
)
@click.option(
    "--measure",
    callback=listed,
    metavar="NAME,...",
    help="Also look for what is left inside: relearn, probe, lens, depth, or all. What the policy limits is measured "
    "without.",
)
@click.option("--apply-chat-template", is_flag=True, help="Ask through base's chat template, as deployed.")
@click.option("--out", type=PATH, help="The run directory.  [default: runs/NAME-DIGEST]")
@click.option(
    "--replace",
    is_flag=True,
    help="Give up a finished run of another candidate, base, suite or policy that lies in the run directory.",
)
@click.option(
    "--release",
    type=PATH,
    metavar="DIR",
    help="Where it passes, write the files that were judged, and no others, here.",
)
@click.option(
    "--seal",
    type=PATH,
    metavar="FILE",
    help="Refuse a policy, suite or items other than those of this seal (`policy seal`).",
)
@click.option("--junitxml", type=PATH, metavar="FILE", help="Also write one JUnit case a limit.")
@finding
@measuring
@json_output
def check(checkpoint: str, junitxml: Path | None, quiet: bool, as_json: bool, verbose: bool, **options: Any) -> int:
    """Measure CHECKPOINT and judge it: has it unlearned, and does that survive quantization?

    CHECKPOINT is a directory of safetensors, or of a LoRA adapter on --base, or a hub id,
    ORG/NAME[@REVISION]. The policy file may name base, suite and precisions: CHECKPOINT alone is enough then.
    """
    from unlearn_guard.checking.request import Request
    from unlearn_guard.command_line.commands import check_command
    from unlearn_guard.command_line.telling import Telling

    how = Telling(as_json=as_json, verbose=verbose)
    return check_command(Request(checkpoint=checkpoint, **options), junitxml=junitxml, quiet=quiet, how=how)


@app.command(epilog=EPILOG)
@click.argument("run_dir", type=PATH)
@click.option("--thresholds", metavar="FILE", help="Policy: a file or a shipped name.  [default: the run's own]")
@verbosity
@json_output
def judge(run_dir: Path, thresholds: str | None, as_json: bool, verbose: bool) -> int:
    """Judge a finished run again, by another policy or the same. Measures nothing."""
    with uncollected():
        from unlearn_guard.command_line.commands import judge_command
        from unlearn_guard.command_line.telling import Telling

        return judge_command(run_dir, thresholds, Telling(as_json=as_json, verbose=verbose))


@app.command()
@click.argument("run_dir", type=PATH)
@click.option("--html", type=PATH, metavar="FILE", help="One self-contained page.  [default: RUN_DIR/report.html]")
@click.option("--items", type=PATH, metavar="FILE", help="A page of items: which came back at which precision.")
@click.option("--markdown", type=PATH, metavar="FILE", help="For a pull request or $GITHUB_STEP_SUMMARY.")
@click.option("--sarif", type=PATH, metavar="FILE", help="SARIF 2.1.0: a rule a limit, at the policy's lines.")
@click.option("--badge", type=PATH, metavar="FILE", help="An SVG with the verdict and the policy, for a README.")
@click.option("--model-card", type=PATH, metavar="README.md", help="Put the scores into a model card's front matter.")
@click.option(
    "--benchmark",
    "benchmarks",
    metavar="TASK=ORG/DATASET:TASK_ID",
    multiple=True,
    callback=pairs("TASK=ORG/DATASET:TASK_ID"),
    help="With --model-card: also write .eval_results/unlearn-guard.yaml for this benchmark of the Hub.",
)
@click.option("--annotations", is_flag=True, help="Print at most ten GitHub annotations, worst first.")
@click.option("--github-output", type=PATH, metavar="FILE", help="Append verdict, status and digests: $GITHUB_OUTPUT.")
@click.option("--show-items", is_flag=True, help="Also show targets and answers of items that changed.")
@click.option(
    "--statement", type=PATH, metavar="FILE", help="A signed statement of this run: the page names its signer."
)
@click.option("--public-key", type=PATH, metavar="FILE", help="The signer's public key, in PEM.")
def report(run_dir: Path, **asked: Any) -> int:
    """Render a finished run for people and tools. Measures nothing; the exit status says only that it was written."""
    from unlearn_guard.command_line.evidence import report_command

    return report_command(run_dir, **asked)


@app.command()
@click.argument("places", nargs=-1, required=True, metavar="DIR...")
@click.option("--out", type=PATH, metavar="SITE", required=True, help="The directory of the site.")
@click.option("--markdown", type=PATH, metavar="FILE", help="Also write the table as Markdown.")
@click.option("--with-reports", is_flag=True, help="Put each run's report into the site, to publish it alone.")
def leaderboard(places: tuple[str, ...], out: Path, markdown: Path | None, with_reports: bool) -> int:
    """Rank the runs at and below each DIR, or URL: a page that opens from disk, with CSV and JSON beside it.

    Measures nothing. Every run is held against its digests; an edited one is refused.
    """
    from unlearn_guard.command_line.evidence import leaderboard_command

    return leaderboard_command(places, out, markdown, with_reports)


@app.command()
@click.argument("checkpoint")
@click.option("--base", metavar="PATH", help="Also say what differs from this model.")
@json_output
def inspect(checkpoint: str, base: str | None, as_json: bool) -> int:
    """Open CHECKPOINT as `check` would: its digest, its defects, its difference from base."""
    from unlearn_guard.command_line.commands import inspect_command

    return inspect_command(checkpoint, base, as_json=as_json)


@app.command()
@click.argument("model")
@click.option("--suite", metavar="NAME", help="Take the pairs of this suite's forget task.")
@click.option("--task", metavar="NAME", help="Which forget task.  [default: the first that has pairs]")
@click.option("--pairs", type=PATH, metavar="FILE.jsonl", help="Take these pairs.")
@click.option("--edges", type=click.Choice(("mlp", "all")), default="mlp", show_default=True)
@click.option("--steps", type=click.IntRange(1), default=5, show_default=True, help="IG steps.")
@click.option(
    "--faithful",
    type=click.IntRange(1),
    metavar="N",
    help="Also say how much of the answer the N heaviest edges carry.",
)
@click.option("--out", type=PATH, required=True, metavar="SCORES.json")
@device
@dtype
@finding
def attribute(model: str, out: Path, **options: Any) -> int:
    """Find the circuit of MODEL: the score of each edge by EAP-IG, and the layers that matter.

    Pairs come from a suite or from a file of {"clean", "corrupted", "target", "wrong"}, one a line.
    """
    from unlearn_guard.command_line.commands import attribute_command

    return attribute_command(model, out, **options)


@app.command()
@click.argument("method")
@click.option("--base", metavar="PATH", required=True, help="The model that is to unlearn.")
@click.option("--suite", metavar="NAME", required=True, help="What it is to unlearn.")
@click.option("--out", type=PATH, required=True, help="The directory of the candidate.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    callback=pairs("KEY=VALUE, as in lr=1e-4", may_be_empty=True),
    help="A hyperparameter of the method.",
)
@click.option(
    "--corpora",
    type=PATH,
    metavar="DIR",
    help="forget and retain as .jsonl or .parquet.  [default: the suite's]",
)
@click.option("--fold", metavar="NAME", help="Forget this fold of the suite's corpora instead, such as scal_1.")
@lora
@methods_dir
@device
@seed
@click.option("--quiet", is_flag=True, help="No progress.")
@finding
def unlearn(quiet: bool, **options: Any) -> int:
    """Make a candidate: train METHOD on the suite's forget and retain corpora.

    `list methods` names them. A method's hyperparameters and their defaults are what the suite found for its
    base, else the method's own; the candidate's unlearn_guard.json records them.
    """
    from unlearn_guard.command_line.commands import unlearn_command

    return unlearn_command(options, quiet=quiet)


for command in (*AROUND, *STATEMENTS, *IMPORTING, *SERVING):
    app.add_command(command)
add_examples(app)
