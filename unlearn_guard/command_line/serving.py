"""`probe`: is what an endpoint serves what a run judged?"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from unlearn_guard.command_line.options import EPILOG, PATH, finding, json_output, listed
from unlearn_guard.errors import ExitStatus


@click.command(epilog=EPILOG)
@click.argument("url")
@click.option("--run", "run_dir", type=PATH, metavar="RUN_DIR", required=True, help="The run that judged the model.")
@click.option("--model", metavar="NAME", help="The model's name there.  [default: the only one that is listed]")
@click.option("--precision", default="full", show_default=True, help="Which of the run's precisions is served.")
@click.option("--items", type=click.IntRange(1), default=200, show_default=True, help="Ask at most N items a task.")
@click.option("--tasks", callback=listed, metavar="NAME,...", help="Ask these tasks only.  [default: all]")
@click.option(
    "--prompts",
    type=click.Choice(("text", "ids")),
    default="text",
    show_default=True,
    help="How completions are given prompts; by ids the server's tokenizer is not asked.",
)
@click.option("--key-env", metavar="VAR", help="The variable that holds the key.  [default: OPENAI_API_KEY, if set]")
@click.option("--base", metavar="PATH", help="Where the run's base lies now; only its tokenizer is read.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=60, show_default=True, metavar="SECONDS")
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time.")
@click.option("--per-minute", type=click.IntRange(1), metavar="N", help="Send at most N requests a minute.")
@click.option("--insecure-http", is_flag=True, help="Send items and key over http:// to another machine.")
@click.option("--out", type=PATH, metavar="FILE", help="The result.  [default: RUN_DIR/probes/HOST.PRECISION.json]")
@click.option("--quiet", is_flag=True, help="No progress.")
@finding
@json_output
def probe(url: str, run_dir: Path, prompts: str, quiet: bool, as_json: bool, **options: Any) -> int:
    """Ask the model served at URL the run's own items: does it answer as the one that was judged?

    URL is the root of an OpenAI-compatible API, such as http://127.0.0.1:8080/v1. The items' texts are sent there.
    Status 0: the run passed, and what is served differs from it by no more than noise. 1: it differs, or the run
    failed. 5: too little could be compared.
    """
    from unlearn_guard.processes.chatter import chatter_to, terminal
    from unlearn_guard.reports.progress import Bars
    from unlearn_guard.reports.served import render
    from unlearn_guard.reports.wording import plain

    stderr = terminal(sys.stderr)
    with Bars(Console(file=stderr, quiet=quiet)) as bars, chatter_to(Path(os.devnull)):
        from unlearn_guard.served.probe import ProbeRequest
        from unlearn_guard.served.probe import probe as ask

        bars.plan(2)
        bars.begin("have the questions again")

        def tell(text: str) -> None:
            click.echo(plain(text), file=stderr)
            bars.begin("ask the endpoint")

        request = ProbeRequest(url=url, run=run_dir, by_ids=prompts == "ids", **options)
        found, file = ask(request, tell=tell, progress=bars.advance)
    if as_json:
        from unlearn_guard.served.probe import as_json as values

        click.echo(json.dumps(values(found), indent=1, allow_nan=False))
    else:
        render(found, Console(), file)
    return ExitStatus(found.status)


SERVING = (probe,)
