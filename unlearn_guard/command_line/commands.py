"""What each command of the command line does: call, print, and say with which status to leave."""

import os
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unlearn_guard.errors import CheckpointError, ExitStatus
from unlearn_guard.processes.chatter import chatter_to, terminal

if TYPE_CHECKING:
    from unlearn_guard.attribution.circuit import Circuit
    from unlearn_guard.checking.request import Request
    from unlearn_guard.command_line.telling import Telling
    from unlearn_guard.comparing.cells import Comparison
    from unlearn_guard.intake import Intake
    from unlearn_guard.records import EdgeScores


def check_command(request: "Request", *, junitxml: Path | None, quiet: bool, how: "Telling") -> ExitStatus:
    """Measure, judge, print the verdict, and write the JUnit file where one is wanted."""
    from unlearn_guard.judging.gate import exit_status
    from unlearn_guard.reports.progress import Bars
    from unlearn_guard.runs.earlier import retracted

    # torch and what it loads print as soon as they are imported, and later: `check` has a log for that
    with (
        retracted(junitxml),
        Bars(Console(file=terminal(sys.stderr), quiet=quiet)) as bars,
        chatter_to(Path(os.devnull)),
    ):
        from unlearn_guard.checking.pipeline import check

        run, directory = check(request, bars)
    how.tell(run, directory, measured=True)
    if request.release is not None:
        told = (
            f"released: {request.release}" if run.verdict.passed else f"not released: nothing is in {request.release}"
        )
        click.echo(told, err=True)
    if junitxml is not None:
        from unlearn_guard.pytest_plugin import write_junit

        write_junit(directory, request.policy, junitxml)
    return exit_status(run.verdict)


def judge_command(run_dir: Path, thresholds: str | None, how: "Telling") -> ExitStatus:
    """Judge a finished run by another policy, or again by its own."""
    from unlearn_guard.judging.gate import exit_status
    from unlearn_guard.reopening.run import read_run

    if thresholds is None:
        run = read_run(run_dir)
    else:
        from unlearn_guard.judging.rejudge import SHIPPED_PRECISIONS, rejudge
        from unlearn_guard.judging.thresholds import read_policy

        draft = read_policy(thresholds)
        run = rejudge(read_run(run_dir, by=draft), draft, _precisions(draft.named, SHIPPED_PRECISIONS))
    how.tell(run, run_dir, measured=False)
    return exit_status(run.verdict)


def _precisions(named: Collection[str], shipped: Sequence[str]) -> Collection[str]:
    """The precisions that a policy may name; plug-ins, which take long to look for, only where it names another."""
    if {*named} <= {*shipped}:
        return shipped
    from unlearn_guard.registry import precisions

    return precisions()


def inspect_command(checkpoint: str, base: str | None, *, as_json: bool) -> ExitStatus:
    """Print what intake knows of a checkpoint, and how it differs from base; a defect ends it as it ends `check`."""
    from unlearn_guard.checking.adapted import inspected
    from unlearn_guard.command_line.inspecting import print_inspection
    from unlearn_guard.intake import assert_packages, inspection, open_checkpoint, with_parameters

    with chatter_to(Path(os.devnull)):
        bases = [with_parameters(open_checkpoint(base))] if base else []
        opened = [inspected(checkpoint, bases[0] if bases else None), *bases]
        for each in opened:
            assert_packages(each.checkpoint.path)
        found = inspection(*opened)
        possible = _possible_precisions(opened[0])
    print_inspection(found, possible, as_json=as_json)
    if found.difference is None:
        return ExitStatus.PASSED
    if found.difference.defects:
        raise CheckpointError("`check` would refuse the two", list(found.difference.defects))
    if not found.difference.changed:
        raise CheckpointError("`check` would refuse the two: nothing was unlearned, every tensor equals base's")
    return ExitStatus.PASSED


def _possible_precisions(intake: "Intake") -> tuple[tuple[str, str], ...]:
    """At which precisions `check` could measure this model, and why at no others."""
    from unlearn_guard.quantizers.coverage import refusals
    from unlearn_guard.quantizers.protocol import needs_adapter
    from unlearn_guard.registry import precisions, quantizer

    names = [name for name in precisions() if intake.adapter or not needs_adapter(quantizer(name))]
    found = {name: refusals(intake.checkpoint.path, name) for name in names}
    able = ", ".join(precision for precision, defects in found.items() if not defects)
    unable = [f"{name}: {why.where}: {why.found}" for name, defects in found.items() for why in defects]
    return (("can be checked at", able), *(("cannot at", text) for text in unable))


def attribute_command(
    model: str, out: Path, *, device: str, dtype: str, faithful: int | None, **asked: Any
) -> ExitStatus:
    """Score a model's edges, write them, and print the heaviest edges and layers."""
    from unlearn_guard.attribution.circuit import mlp_circuit
    from unlearn_guard.attribution.scores import write_scores
    from unlearn_guard.checking.checkpoints import open_sealed
    from unlearn_guard.checking.prompt_pairs import attribute_model
    from unlearn_guard.environment import choose_device, choose_dtype, device_map
    from unlearn_guard.quantizers.protocol import Placement

    with chatter_to(Path(os.devnull)):
        intake = open_sealed(model, tokenizer=asked["suite"] is not None)  # pairs may be token ids
        chosen = choose_device(device)
        placement = Placement(device_map=device_map(chosen), dtype=choose_dtype(dtype, chosen))
        task, scores, share = attribute_model(intake, placement, faithful=faithful, **asked)
    write_scores(out, scores, subject=intake.checkpoint.digest, task=task)
    found = scores.edge_scores(subject=intake.checkpoint.digest, task=task)
    _print_attribution(found, mlp_circuit(found))
    if share is not None:
        click.echo(f"faithfulness of the {faithful} heaviest edges: {share:.3f} (1: they carry the whole answer)")
    click.echo(f"{task}: {len(scores.edges)} edges, {scores.items} pairs, {scores.steps} steps, in {out}")
    return ExitStatus.PASSED


def _print_attribution(scores: "EdgeScores", circuit: "Circuit") -> None:
    from unlearn_guard.attribution.scores import table

    found = table(scores)
    edges = Table("heaviest edges", "score", box=None, pad_edge=False)
    for edge, score in found.edges:
        edges.add_row(escape(edge), f"{score:+.4g}")
    layers = Table("layer", "into its MLP", "", box=None, pad_edge=False)
    for mass in found.layers:
        layers.add_row(str(mass.layer), f"{mass.mlp:.4g}", "circuit" if mass.layer in circuit.layers else "")
    console = Console()
    console.print(edges)
    console.print(layers)
    console.print(f"circuit: the MLPs of layers {', '.join(map(str, circuit.layers))}, {circuit.share:.0%} of the mass")


def unlearn_command(options: dict[str, Any], *, quiet: bool) -> ExitStatus:
    """Make a candidate, and say what to do with it."""
    from unlearn_guard.reports.progress import TrainingBar

    with chatter_to(Path(os.devnull)):
        from unlearn_guard.unlearning.making import UnlearnRequest, unlearn
    request = UnlearnRequest(**options)
    with TrainingBar(Console(file=terminal(sys.stderr), quiet=quiet)) as bar, chatter_to(Path(os.devnull)):
        made = unlearn(request, bar)
    last = f", forget loss {made.curve[-1].forget:.3f} nats at the end" if made.curve else ""
    click.echo(f"{request.method}: {made.path} ({len(made.changed)} tensors changed{last})")
    where = found_in(request.tasks_dirs, request.data_dir)
    click.echo(f"next: unlearn-guard check {made.path} --base {request.base} --suite {request.suite}{where}")
    return ExitStatus.PASSED


def found_in(tasks_dirs: Sequence[Path], data_dir: Path | None = None) -> str:
    """The options that say where a suite and its data lie, for the next command to type."""
    places = [*(("--tasks-dir", folder) for folder in tasks_dirs), *([("--data-dir", data_dir)] if data_dir else [])]
    return "".join(f" {option} {shlex.quote(str(folder))}" for option, folder in places)


def plan_command(options: dict[str, Any]) -> ExitStatus:
    """Print each cell and what became of it, and what the rest may take."""
    from unlearn_guard.reports.wording import short

    with chatter_to(Path(os.devnull)):
        from unlearn_guard.comparing.compare import plan

        made = plan(_comparison(**options))
    for cell in made.cells:
        found = made.found.get(cell.folder)
        state = "not begun" if found is None else f"failed: {found.error}" if found.error else found.state
        click.echo(f"{short(cell.name)}: {short(state, 300)}")
    seconds = "not known before a cell is measured" if made.seconds is None else f"about {made.seconds:.0f} s"
    click.echo(f"{len(made.cells)} cells, {len(made.left)} left: {seconds}, one after the other")
    click.echo(f"memory: about {made.bytes_a_cell / 2**30:.1f} GiB a cell while it trains")
    return ExitStatus.PASSED


def _comparison(out: str, **options: Any) -> "Comparison":
    """What was asked for, with a URL's results in the directory of this machine that stands for it."""
    from unlearn_guard.comparing.cells import Comparison
    from unlearn_guard.runs.bucket import directory_of, is_url
    from unlearn_guard.runs.mirror import mirror_of

    if is_url(out):
        return Comparison(out=mirror_of(out), remote=out, **options)
    return Comparison(out=directory_of(out), **options)


def compare_command(options: dict[str, Any], *, quiet: bool, **how: Any) -> ExitStatus:
    """Measure the cells, and say who leads and what failed. PASSED means that every cell was measured, no more."""
    from unlearn_guard.reports.leaderboard import held, settings_text
    from unlearn_guard.reports.progress import CellBars
    from unlearn_guard.reports.wording import short

    with chatter_to(Path(os.devnull)):
        from unlearn_guard.comparing.compare import compare
    asked = _comparison(**options)
    with CellBars(Console(file=terminal(sys.stderr), quiet=quiet)) as bars, chatter_to(Path(os.devnull)):
        ended, site = compare(asked, bars, **how)
    for row in site.board.rows if site else ():
        name = short(f"{row.first.method} {settings_text(row.first.settings)}".rstrip())
        suite = short(row.first.run.suite, 60)
        click.echo(f"{row.rank:>3}. {name} on {suite}: {held(row)} limits held")
    for cell in ended.left:
        found = ended.found.get(cell.folder)
        click.echo(f"  -  {short(cell.name)}: {short(found.error or found.state if found else 'not begun', 300)}")
    click.echo(
        f"written: {site.files[0]}" if site else f"next: unlearn-guard leaderboard {options['out']} --out SITE",
        err=True,
    )
    if site and asked.remote:
        click.echo(f"written: {asked.remote}/{Path(site.files[0]).parent.name}/", err=True)
    return ExitStatus.MEASURING_FAILED if ended.left else ExitStatus.PASSED


def demo_command(out: Path) -> ExitStatus:
    """The demonstration, without what the libraries print."""
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.command_line.demo import demo
    return demo(out)


def pull_command(suites: tuple[str, ...], data_dir: Path, tasks_dirs: tuple[Path, ...]) -> ExitStatus:
    """Vendor what suites read, and say what was fetched."""
    from unlearn_guard.scoring.suites import load_suite

    loaded = [load_suite(name, tasks_dirs) for name in suites]
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.scoring.pulling import pull

        manifest = pull(loaded, data_dir)
    for name, dataset in sorted(manifest.datasets.items()):
        rows = sum(split.rows for split in dataset.files.values())
        click.echo(f"{name} at {dataset.revision}: {len(dataset.files)} files, {rows} rows, licence {dataset.licence}")
    for name, task in sorted(manifest.tasks.items()):
        click.echo(f"{name}: {task.items} items, sha256 {task.sha256}")
    where = found_in(tasks_dirs, data_dir)
    click.echo(f"next: copy {data_dir}, and unlearn-guard check ... --suite {suites[0]}{where}")
    return ExitStatus.PASSED
