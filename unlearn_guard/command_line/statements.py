"""`attest` and `verify`: what is stated of a run, and whether a checkpoint is the one spoken of. Parsing alone."""

from pathlib import Path
from typing import Any

import click

from unlearn_guard.command_line.options import EPILOG, PATH, moment


@click.command()
@click.argument("run_dir", type=PATH)
@click.option("--out", type=PATH, metavar="FILE", required=True, help="The statement to write, outside the candidate.")
@click.option("--candidate", metavar="PATH", help="Where the candidate lies now.  [default: where it was judged]")
@click.option("--key", type=PATH, metavar="PRIVATE.pem", help="Sign with this elliptic-curve key, into FILE.sig.")
def attest(run_dir: Path, out: Path, candidate: str | None, key: Path | None) -> int:
    """State which bytes a run judged, by which policy, with which result: an in-toto test result."""
    from unlearn_guard.command_line.evidence import attest_command

    return attest_command(run_dir, out, candidate, key)


@click.command(epilog=EPILOG)
@click.argument("statement", type=PATH)
@click.argument("checkpoint", type=PATH)
@click.option("--public-key", type=PATH, metavar="PUBLIC.pem", help="Also ask that STATEMENT.sig is this key's.")
@click.option("--not-after", callback=moment, metavar="DATE", help="Refuse what was judged or stated after DATE (UTC).")
@click.option("--not-before", callback=moment, metavar="DATE", help="Refuse what was judged or stated before DATE.")
def verify(statement: Path, checkpoint: Path, public_key: Path | None, **between: Any) -> int:
    """Are the files of CHECKPOINT the ones that STATEMENT says were judged, and did they pass?"""
    from unlearn_guard.command_line.evidence import verify_command

    return verify_command(statement, checkpoint, public_key, **between)


STATEMENTS = (attest, verify)
