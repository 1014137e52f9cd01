"""The options that commands share, each declared once, and how their values are read."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]
Parse = Callable[[click.Context, click.Parameter, Any], Any]

PATH = click.Path(path_type=Path)
"""A path that may or may not be there."""

EPILOG = """\b
Exit status:
  0  every limit held: the only status that means "release"
  1  a limit was broken
  2  interrupted by Ctrl-C, SIGTERM or SIGHUP: the same command goes on
  3  the measuring itself failed
  4  usage: bad flag, policy, checkpoint or plug-in
  5  not established: a limit was never measured, or is inconclusive"""

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def pairs(expected: str, *, may_be_empty: bool = False) -> Parse:
    """What reads repeated NAME=VALUE options into a dict; `expected` says in an error what one looks like."""

    def parse(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        found = {}
        for value in values:
            name, equals, text = value.partition("=")
            if not name or not equals or not (text or may_be_empty):
                raise click.BadParameter(f"{value!r}; expected {expected}", context, parameter)
            found[name] = text
        return found

    return parse


def _of_lora(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    return pairs("KEY=VALUE, as in r=16")(context, parameter, values) if values else None


lora = click.option(
    "--lora",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_of_lora,
    help="Train a LoRA adapter alone: r=16, alpha=32 (twice r), targets=q_proj,v_proj (every linear layer).",
)


def names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None where the option was not given."""
    if value is None:
        return None
    found = tuple(name.strip() for name in value.split(","))
    if not all(found):
        raise click.BadParameter(f"{value!r}; expected names separated by commas", context, parameter)
    return found


def listed(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Names separated by commas; none where the option was not given."""
    return names(context, parameter, value) or ()


def seeds(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Numbers from 0 separated by commas."""
    texts = [each.strip() for each in value.split(",")]
    if not all(each.isascii() and each.isdigit() and len(each) < 10 for each in texts):
        raise click.BadParameter(f"{value!r}; expected numbers from 0 separated by commas", context, parameter)
    return tuple(map(int, texts))


def part(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """I/N, the I-th of N parts; None where the option was not given."""
    if value is None:
        return None
    index, _, of = value.partition("/")
    if not (index.isdigit() and of.isdigit() and 1 <= int(index) <= int(of)):
        raise click.BadParameter(f"{value!r}; expected I/N with I from 1 to N", context, parameter)
    return int(index), int(of)


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> "datetime | None":
    """A point in time; of a date alone its end for `not_after`, its beginning else. UTC where no zone is given."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        expected = "expected a date as 2026-11-28 or 2026-11-28T14:00:00+01:00"
        raise click.BadParameter(f"{value!r}; {expected}", context, parameter) from error
    if found.time() == time.min and len(value) <= len("2026-11-28") and parameter.name == "not_after":
        found = found.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


batch_size = click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
data_dir = click.option(
    "--data-dir", type=_FOLDER, metavar="DIR", help="Read datasets from here (`data pull`), never from a network."
)
device = click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto", show_default=True)
dtype = click.option(
    "--dtype",
    type=click.Choice(("auto", "float32", "bfloat16", "float16")),
    default="auto",
    show_default="float32 on cpu, bfloat16 on cuda",
)
limit = click.option("--limit", type=click.IntRange(1), help="Ask the first N items only. Such a run never passes.")
methods_dir = click.option("--methods-dir", type=PATH, metavar="DIR", help="Also look for methods here.")
precisions = click.option(
    "--precisions",
    callback=names,
    help="What to measure at: names, or all.  [default: the policy's, else full,nf4,gptq,awq]",
)
seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
tasks_dir = click.option(
    "--tasks-dir",
    "tasks_dirs",
    type=_FOLDER,
    multiple=True,
    metavar="DIR",
    help="Also look for suites here: NAME.yaml or suites/NAME.yaml.",
)
thresholds = click.option(
    "--thresholds", metavar="FILE", help="Policy: a file or a shipped name.  [default: ./thresholds.yaml, else paper]"
)


verbosity = click.option("--verbose", is_flag=True, help="Also every limit that held, scores, stages and notes.")
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script instead.")


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Options as one decorator; help lists them in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


finding = _together(data_dir, tasks_dir)
"""Where suites, tasks and their data lie: of every command that renders a suite."""

measuring = _together(
    precisions,
    thresholds,
    device,
    dtype,
    batch_size,
    limit,
    seed,
    click.option(
        "--doses", is_flag=True, help="Also: how little of base, put back into the candidate, this gate would catch."
    ),
    click.option(
        "--calibration",
        type=click.Choice(("suite", "worst")),
        default="suite",
        show_default=True,
        help="What gptq and awq calibrate on: the suite's texts, or also the retain and forget questions in several "
        "groups, of which the worst counts.",
    ),
    click.option("--quiet", is_flag=True, help="No progress; the verdict still prints."),
    verbosity,
)
"""How to measure: of `check`."""


def _comparing(*, required: bool) -> Callable[[Command], Command]:
    return _together(
        click.option("--methods", callback=names, required=required, metavar="A,B|all", help="Which methods."),
        click.option("--base", metavar="PATH", required=required, help="The model that is to unlearn."),
        click.option("--suites", callback=names, required=True, metavar="X,Y", help="What it is to unlearn."),
        click.option(
            "--out",
            metavar="DIR|URL",  # text: a path type would take s3://x for s3:/x
            required=required,
            help="Where the cells and the leaderboard go: a directory, or s3://, gs://, ...",
        ),
        click.option(
            "--seeds", callback=seeds, default="0", show_default=True, metavar="0,1,...", help="Of the training."
        ),
        click.option("--grid", type=PATH, metavar="FILE", help="YAML, {METHOD: {KEY: [VALUE, ...]}}: what to try."),
        click.option("--cell", "part", callback=part, metavar="I/N", help="Only the I-th of N parts of the cells."),
        precisions,
        thresholds,
        methods_dir,
        device,
        dtype,
        batch_size,
        limit,
    )


comparing = _comparing(required=True)
"""Which cells there are and how they are checked: of `compare`."""

planning = _comparing(required=False)
"""The same of `plan`, which with `--power` needs the suites alone."""
