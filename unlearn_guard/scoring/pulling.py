"""`data pull`: fetch what suites ask from, once, where there is a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.scoring.digests import items_digest
from unlearn_guard.scoring.loading import from_hub, hub_dataset, leaf_configs, revision_of, splits
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.rendering import render
from unlearn_guard.scoring.suites import Suite
from unlearn_guard.scoring.vendored import (
    MANIFEST,
    Dataset,
    Items,
    Manifest,
    read_manifest,
    write_manifest,
    write_split,
)

UNKNOWN_LICENCE = "not stated by the task: look at the dataset's card"


class Hub(Protocol):
    """Where datasets come from."""

    def commit(self, dataset: str) -> str:
        """The commit that the dataset's main branch is at now."""

    def split(self, dataset: str, config: str | None, split: str, revision: str) -> Any:
        """The rows of one split at one commit."""


class HuggingFaceHub:
    """The public hub, through its own libraries."""

    def commit(self, dataset: str) -> str:
        """The commit that the dataset's main branch is at now."""
        from huggingface_hub import HfApi

        return str(HfApi().dataset_info(dataset).sha)

    def split(self, dataset: str, config: str | None, split: str, revision: str) -> Any:
        """The rows of one split at one commit."""
        from datasets import load_dataset

        return load_dataset(dataset, config, split=split, revision=revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    dataset: str
    config: str | None
    split: str
    revision: str | None
    licence: str


def pull(suites: Sequence[Suite], data_dir: Path, *, hub: Hub | None = None, defaults: bool = True) -> Manifest:
    """Fetch every split that the suites' tasks read into `data_dir`, and record what it is in the manifest.

    A task that names no revision gets the one that the manifest already pins, else the newest. Other datasets of the
    folder stay. Raises SuiteError when a dataset is wanted at two revisions, or cannot be fetched.
    """
    hub = hub or HuggingFaceHub()
    data_dir.mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(data_dir) if (data_dir / MANIFEST).exists() else Manifest()
    found = dict(manifest.datasets)
    for wanted in dict.fromkeys(each for suite in suites for each in _wanted(suite, defaults)):
        found[wanted.dataset] = _fetch(wanted, found.get(wanted.dataset), data_dir, hub)
        write_manifest(data_dir, manifest.model_copy(update={"datasets": found}))
    tasks = dict(manifest.tasks)
    for suite in suites:
        tasks |= _items(render(suite, defaults=defaults, data_dir=data_dir, verify=False))
    manifest = Manifest(datasets=found, tasks=tasks)
    write_manifest(data_dir, manifest)
    return manifest


def _wanted(suite: Suite, defaults: bool) -> Iterator[_Wanted]:
    for config in leaf_configs([spec.name for spec in suite.tasks], suite.include, defaults=defaults):
        dataset = hub_dataset(config)
        if dataset is None:
            continue
        licence = str((config.get("metadata") or {}).get("licence", UNKNOWN_LICENCE))
        for split in splits(config):
            yield _Wanted(
                dataset=dataset,
                config=config.get("dataset_name"),
                split=split,
                revision=revision_of(config),
                licence=licence,
            )


def _fetch(wanted: _Wanted, known: Dataset | None, data_dir: Path, hub: Hub) -> Dataset:
    try:
        revision = wanted.revision or (known.revision if known is not None else hub.commit(wanted.dataset))
        if known is not None and known.revision != revision:
            defect = Defect(where=f"{data_dir / MANIFEST}: {wanted.dataset}", found=known.revision, expected=revision)
            raise SuiteError(
                f"dataset {wanted.dataset} is wanted at two revisions", [defect], fix="Pull into another folder."
            )
        rows = hub.split(wanted.dataset, wanted.config, wanted.split, revision)
    except SuiteError:
        raise
    except Exception as error:  # whatever the hub's libraries raise, the user hears which dataset it was
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise SuiteError(
            f"{wanted.dataset} ({wanted.config or 'default'}, {wanted.split}) cannot be fetched: "
            f"{type(error).__name__}: {first}",
            fix="Run this where there is a network; a gated dataset needs `hf auth login` first.",
        ) from error
    file, entry = write_split(data_dir, wanted.dataset, wanted.config, wanted.split, rows)
    files = {**(known.files if known is not None else {}), file: entry}
    return Dataset(revision=revision, licence=wanted.licence, files=files)


def _items(rendered: Rendered) -> dict[str, Items]:
    return {
        each.task.name: Items(items=each.task.items, sha256=items_digest(each))
        for each in rendered.tasks
        if any(from_hub(leaf.task) for leaf in each.leaves)
    }
