"""`import`: a public log's numbers beside those of a run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unlearn_guard.command_line.options import PATH, json_output
from unlearn_guard.errors import ExitStatus

if TYPE_CHECKING:
    from unlearn_guard.comparing.public_log import Pairing


@click.command(name="import")
@click.argument("run_dir", type=PATH)
@click.option(
    "--open-unlearning",
    "log",
    type=PATH,
    metavar="EVAL.json",
    required=True,
    help="TOFU_EVAL.json or MUSE_EVAL.json of open-unlearning, or the *_SUMMARY.json beside it.",
)
@json_output
def import_log(run_dir: Path, log: Path, as_json: bool) -> int:
    """Lay the numbers of a public log beside those of a run, in full precision, and name what has no counterpart.

    Nothing is judged: status 0 says that both could be read.
    """
    from unlearn_guard.comparing.public_log import pair, read_log
    from unlearn_guard.reopening.run import read_run

    found = pair(read_log(log), read_run(run_dir))
    if as_json:
        click.echo(json.dumps(_document(found), indent=1))
        return ExitStatus.PASSED
    _tell(found)
    return ExitStatus.PASSED


def _document(found: "Pairing") -> dict[str, object]:
    return {
        "beside": [
            {
                **asdict(each.public),
                "ours": each.ours.name,
                "our_value": each.ours.value,
                "our_stderr": each.ours.stderr,
                "our_items": each.ours.samples,
                "difference": each.difference,
                "note": each.note,
            }
            for each in found.beside
        ],
        "without_counterpart": [{**asdict(public), "because": why} for public, why in found.alone],
    }


def _tell(found: "Pairing") -> None:
    from unlearn_guard.reports.wording import plain

    rows = [("public log", "there", "here", "here - there", "ours")]
    for each in found.beside:
        ours = f"{each.ours.value:.4g}" + (f" +- {each.ours.stderr:.2g}" if each.ours.stderr is not None else "")
        about = f"{each.ours.name}{f' ({each.note})' if each.note else ''}"
        rows.append((plain(each.public.name), _shown(each.public.value), ours, _shown(each.difference), plain(about)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows if found.beside else ():
        click.echo("  ".join([*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[4]]).rstrip())
    if not found.beside:
        click.echo("nothing of this run is worked out as a number of the log is")
    for public, why in found.alone:
        click.echo(f"no counterpart: {plain(public.name)} = {_shown(public.value)}: {why}")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


IMPORTING = (import_log,)
