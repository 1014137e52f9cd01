"""From a run directory to its reports. Reads what run.json lists by digest, measures nothing, needs no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from unlearn_guard.errors import RunDirectoryError, UsageError, near
from unlearn_guard.records import FULL, Run, Sample
from unlearn_guard.reopening.run import Answers, open_run
from unlearn_guard.reports.evidence import Evidence, Flips, Item, Masses
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.directory import ATTRIBUTION, ITEMS, REPORT, WEIGHTS
from unlearn_guard.runs.drift_file import NAME, read_drift


def write_report(directory: Path) -> Path:
    """Write `report.html` and the page of its items into the run directory, and return the report's path."""
    return _pages(directory, read_evidence(directory))[0]


def _pages(directory: Path, evidence: Evidence, *, show_items: bool = False) -> tuple[Path, Path]:
    """The report and its items, beside each other and linked to each other."""
    from unlearn_guard.reports.html import page
    from unlearn_guard.reports.items_page import items_page

    report, items = directory / REPORT, directory / ITEMS
    write_bytes(items, items_page(evidence, show_items=show_items, report=REPORT).encode())
    write_bytes(report, page(evidence, show_items=show_items, items_page=ITEMS).encode())
    return report, items


def read_evidence(directory: Path, *, items: bool = False) -> Evidence:
    """What the run directory holds. `items`: also each changed item's target and answer, not its id and hash alone.

    Files that run.json does not list are never read. Raises RunDirectoryError as `open_run` does.
    """
    held = open_run(directory)
    run, grid = held.run, f"{WEIGHTS}/{NAME}"
    sides = {"base": run.base.digest, "candidate": run.candidate.digest}
    return Evidence(
        run=run,
        digest=held.digest,
        directory=str(directory),
        flips=tuple(_flips(directory, run, held.answers, items=items)),
        masses=tuple(_masses(directory, sides, held.files)),
        drift=read_drift(directory / grid, **sides) if grid in held.files else (),
    )


def _flips(directory: Path, run: Run, answers: Answers, *, items: bool) -> Iterator[Flips]:
    """Each task at each quantized precision that the candidate answered, in the order measured."""
    precisions = dict.fromkeys(each.precision for each in run.measurements if each.precision != FULL)
    for task in run.tasks:
        before = answers.get((task.name, FULL, "candidate"))
        for precision in precisions if before is not None else ():
            after = answers.get((task.name, precision, "candidate"))
            if before is not None and after is not None:
                yield _compared(directory, task.name, precision, before, after, items=items)


def _compared(
    directory: Path, task: str, precision: str, before: Sequence[Sample], after: Sequence[Sample], *, items: bool
) -> Flips:
    full = {each.id: each for each in before}
    if len(full) != len(before) or [(each.id, each.prompt) for each in before] != [(s.id, s.prompt) for s in after]:
        raise RunDirectoryError(
            f"{directory}: {task} was not asked the same items in full precision and at {precision}",
            fix="Run the check again.",
        )
    same = [each for each in after if each.correct == full[each.id].correct]
    return Flips(
        task=task,
        precision=precision,
        back=tuple(_item(each, items) for each in after if each.correct > full[each.id].correct),
        lost=tuple(_item(each, items) for each in after if each.correct < full[each.id].correct),
        right=sum(each.correct > 0.5 for each in same),
        wrong=sum(each.correct <= 0.5 for each in same),
    )


def _item(sample: Sample, shown: bool) -> Item:
    if not shown:
        return Item(prompt=sample.prompt, id=sample.id)
    answer = sample.text or ", ".join(f"{nats:.2f}" for nats in sample.loglikelihoods or ())
    return Item(prompt=sample.prompt, id=sample.id, target=sample.target, answer=answer)


def _masses(directory: Path, sides: dict[str, str], files: Sequence[str]) -> Iterator[Masses]:
    """Attribution by layer from each listed file of edge scores, base first."""
    from unlearn_guard.attribution.scores import layer_masses, read_scores

    for name in sorted(name for name in files if name.startswith(f"{ATTRIBUTION}/")):
        task, precision, side = Path(name).stem.rsplit(".", 2)
        scores = read_scores(directory / name)
        if scores.subject != sides.get(side):
            raise UsageError(f"{directory / name} holds scores of {scores.subject}, not of this run's {side}")
        by_layer = tuple((each.layer, each.mlp) for each in layer_masses(scores))
        yield Masses(task=task, precision=precision, side=side, by_layer=by_layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What is to be written and where; nothing named: report.html and its items in the run directory.

    `statement` and `public_key`: a signed statement of this run, whose signer the page then names.
    """

    html: Path | None = None
    items: Path | None = None
    markdown: Path | None = None
    sarif: Path | None = None
    badge: Path | None = None
    model_card: Path | None = None
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    show_items: bool = False
    statement: Path | None = None
    public_key: Path | None = None


def write_reports(directory: Path, asked: Reports) -> tuple[Path, ...]:
    """Write what is asked for; returns the files. StorageError when one cannot be written."""
    evidence = read_evidence(directory, items=asked.show_items)
    if asked.statement or asked.public_key:
        evidence = replace(evidence, signed=_signer(asked, evidence))
    written: list[Path] = []
    if not any((asked.html, asked.items, asked.markdown, asked.sarif, asked.badge, asked.model_card)):
        written += _pages(directory, evidence, show_items=asked.show_items)
    if asked.html:
        from unlearn_guard.reports.html import page

        written.append(_write(asked.html, page(evidence, show_items=asked.show_items)))
    if asked.items:
        from unlearn_guard.reports.items_page import items_page

        written.append(_write(asked.items, items_page(evidence, show_items=asked.show_items)))
    if asked.markdown:
        from unlearn_guard.reports.markdown import markdown

        written.append(_write(asked.markdown, markdown(evidence)))
    if asked.sarif:
        from unlearn_guard.reports.sarif import sarif

        written.append(_write(asked.sarif, sarif(evidence)))
    if asked.badge:
        from unlearn_guard.reports.badge import badge

        written.append(_write(asked.badge, badge(evidence.run, evidence.digest)))
    if asked.model_card:
        if not evidence.run.verdict.complete:
            raise UsageError(
                f"{directory} asked only part of the items: such scores are not a model card's",
                fix="Run the check again without --limit.",
            )
        written += _model_card(asked.model_card, evidence, asked.benchmarks)
    return tuple(written)


def _signer(asked: Reports, evidence: Evidence) -> str:
    from unlearn_guard.reports.attesting import signer

    if asked.statement is None or asked.public_key is None:
        raise UsageError(
            "--statement and --public-key go together", fix="A statement says who made it only where its key is known."
        )
    return signer(asked.statement, asked.public_key, run=evidence.digest)


def _write(path: Path, text: str) -> Path:
    """Replace a file; a pipe or device, such as /dev/stdout, is written to."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
    else:
        write_bytes(path, text.encode())
    return path


def _model_card(path: Path, evidence: Evidence, benchmarks: Mapping[str, str]) -> list[Path]:
    """Put the results into the card's front matter, beside whatever it holds; and write rows for benchmarks."""
    import yaml
    from huggingface_hub import metadata_load, metadata_save

    from unlearn_guard.reports.model_card import eval_results, model_index

    hub = {task: _benchmark(task, place) for task, place in benchmarks.items()}
    if unknown := sorted(set(hub) - {task.name for task in evidence.run.tasks}):
        known = near(unknown[0], [task.name for task in evidence.run.tasks])
        raise UsageError(f"--benchmark {unknown[0]}: the run has no such task", fix=known)
    before = path.read_bytes() if path.exists() else b""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "README.md"
        copy.write_bytes(before)
        try:
            metadata = metadata_load(copy) or {}
        except (ValueError, yaml.YAMLError) as error:
            fix = "Mend the YAML between its first two lines of ---."
            raise UsageError(f"{path}: its front matter cannot be read: {error}", fix=fix) from error
        metadata_save(copy, {**metadata, "model-index": model_index(evidence)})
        write_bytes(path, copy.read_bytes())
    if not hub:
        return [path]
    rows = path.parent / ".eval_results" / "unlearn-guard.yaml"
    write_bytes(rows, yaml.safe_dump(eval_results(evidence, hub), sort_keys=False, allow_unicode=True).encode())
    return [path, rows]


def _benchmark(task: str, place: str) -> tuple[str, str]:
    dataset, _, name = place.partition(":")
    if dataset.count("/") != 1 or not name:
        raise UsageError(f"--benchmark {task}={place}", fix="Expected TASK=ORG/DATASET:TASK_ID.")
    return dataset, name
