"""What the commands about finished runs do: reports, the leaderboard, statements."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from unlearn_guard.errors import ExitStatus


def report_command(run_dir: Path, *, annotations: bool, github_output: Path | None, **asked: Any) -> ExitStatus:
    """Write the reports of a finished run and name them; annotations go to the terminal, where GitHub reads them."""
    from unlearn_guard.reopening.run import open_run, read_run
    from unlearn_guard.reports.rendering import Reports, write_reports

    wanted = Reports(**asked)
    if github_output is not None:
        from unlearn_guard.judging.gate import exit_status
        from unlearn_guard.reports.outputs import outputs

        held = open_run(run_dir)
        with github_output.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in outputs(held.run, held.digest, exit_status(held.run.verdict)))
    if annotations:
        from unlearn_guard.reports.annotations import annotations as lines

        for line in lines(read_run(run_dir)):
            click.echo(line)
    if (annotations or github_output is not None) and wanted == Reports():
        return ExitStatus.PASSED
    for path in write_reports(run_dir, wanted):
        click.echo(f"written: {path}", err=True)
    return ExitStatus.PASSED


def leaderboard_command(places: tuple[str, ...], out: Path, markdown: Path | None, with_reports: bool) -> ExitStatus:
    """Write the site, and say who leads each part of it and how many cells are missing."""
    from unlearn_guard.comparing.leaderboard import write_leaderboard
    from unlearn_guard.reports.leaderboard import held
    from unlearn_guard.reports.wording import short
    from unlearn_guard.runs.bucket import directory_of, is_url
    from unlearn_guard.runs.mirror import fetch_all

    directories = [each for place in places for each in (fetch_all(place) if is_url(place) else [directory_of(place)])]
    site = write_leaderboard(directories, out, to_markdown=markdown, with_reports=with_reports)
    for row in site.board.rows:
        if row.rank == 1:
            click.echo(
                f"first on {short(row.first.run.suite, 60)}: {short(row.first.method, 60)}, {held(row)} limits held"
            )
    if site.board.absent:
        click.echo(f"not measured: {len(site.board.absent)}; the page says why")
    click.echo(f"written: {out / 'index.html'}", err=True)
    return ExitStatus.PASSED


def attest_command(run_dir: Path, out: Path, candidate: str | None, key: Path | None) -> ExitStatus:
    """Write the statement of a run, signed where there is a key."""
    from unlearn_guard.reopening.run import ON_ITS_WORD, read_run
    from unlearn_guard.reports.attesting import attest
    from unlearn_guard.reports.wording import plain

    for path in attest(run_dir, out, candidate=candidate, key=key):
        click.echo(f"written: {path}")
    run = read_run(run_dir)
    for warning in run.warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    for note in (each for each in run.notes if each.startswith(ON_ITS_WORD)):
        click.echo(f"note: {plain(note)}", err=True)
    return ExitStatus.PASSED


def verify_command(
    statement: Path,
    checkpoint: Path,
    public_key: Path | None,
    *,
    not_after: datetime | None = None,
    not_before: datetime | None = None,
) -> ExitStatus:
    """Say whether these bytes are the ones judged; the status is the verdict's."""
    from unlearn_guard.reports.attesting import assert_between, verify
    from unlearn_guard.reports.wording import plain

    claim = verify(statement, checkpoint, public_key=public_key)
    assert_between(claim, statement, not_before=not_before, not_after=not_after)
    signed = f"signed by {public_key}" if public_key else "signature not looked at: no --public-key"
    files = next((each.files for each in claim.artifacts if each.precision == claim.held_at), claim.files)
    told = "" if claim.held_at is None else f" at {plain(claim.held_at)}"
    click.echo(f"the {len(files)} files are those that were judged{told} ({signed})")
    if claim.made is not None:
        click.echo(
            f"judged {plain(claim.started)}, stated {plain(claim.made)}, by unlearn-guard {plain(claim.version)}"
        )
    if claim.adapter is not None and claim.held_at is None:
        click.echo(f"they are an adapter, judged on the base of digest {plain(claim.base)} and on no other")
    click.echo(f"run sha256:{claim.run}, policy sha256:{claim.policy}")
    for each in claim.artifacts:
        shown = "nothing shows that it was made from it" if each.lineage is None else f"lineage {each.lineage:.4g}"
        click.echo(f"judged at {plain(each.precision)} as {plain(each.digest)}: {len(each.files)} files, {shown}")
    click.echo(f"verdict: {claim.verdict}")
    for name in claim.failed:
        why = "not measured" if name in claim.unmeasured else "inconclusive" if name in claim.inconclusive else "broken"
        click.echo(f"  did not hold: {plain(name)} ({why})")
    for name in claim.warned:
        click.echo(f"  held on part of the items only: {plain(name)}")
    for warning in claim.warnings:
        click.echo(f"warning: {plain(warning)}")
    statuses = {"passed": ExitStatus.PASSED, "failed": ExitStatus.FAILED}
    return statuses.get(claim.verdict, ExitStatus.NOT_ESTABLISHED)
