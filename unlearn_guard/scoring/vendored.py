"""Datasets that lie in a folder with a manifest, for machines without a network: `--data-dir`.

    DATA_DIR/manifest.json                        revisions, licences, digests of files and of rendered items
    DATA_DIR/OWNER/NAME/CONFIG/SPLIT.parquet      one file a split; CONFIG is `default` where a dataset has one only

Nothing is read from here that the manifest does not name, and nothing whose bytes are not those it was written with.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, SuiteError, near

MANIFEST = "manifest.json"
DEFAULT_CONFIG = "default"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Split(_Strict):
    """One parquet file: its rows and the sha256 of its bytes."""

    rows: Annotated[int, Field(ge=1)]
    sha256: Digest


class Dataset(_Strict):
    """One dataset at one commit; `files` by path below its folder."""

    revision: Revision
    licence: str
    files: dict[str, Split]


class Items(_Strict):
    """A task's items as they were rendered when the data was pulled: how many, and the sha256 over all of them."""

    items: Annotated[int, Field(ge=1)]
    sha256: Digest


class Manifest(_Strict):
    """What a data folder holds, and which items tasks made of it."""

    schema_: Annotated[Literal["unlearn-guard.data/1"], Field(alias="schema")] = "unlearn-guard.data/1"
    datasets: dict[str, Dataset] = {}
    tasks: dict[str, Items] = {}


class Vendored:
    """A data folder as its manifest describes it. Raises SuiteError for one without a manifest that holds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = read_manifest(root)

    def load(self, name: str, config: str | None, splits: Sequence[str], *, revision: str | None) -> Any:
        """These splits of one dataset. Raises SuiteError: not pulled, other bytes than were pulled, another commit."""
        import datasets

        held = self.manifest.datasets.get(name)
        if held is not None and revision is not None and held.revision != revision:
            where = f"{self.root / MANIFEST}: {name}"
            defect = Defect(where=where, found=f"commit {held.revision}", expected=f"{revision}, as the task says")
            raise SuiteError(f"dataset {name} was pulled at another commit", [defect], fix=pull_hint(self.root))
        return datasets.DatasetDict({split: self._split(name, config, split) for split in splits})

    def check_items(self, task: str, items: int, digest: str) -> None:
        """Refuse a task whose rendered items are not those of the manifest."""
        known = self.manifest.tasks.get(task)
        if known is None:
            raise SuiteError(
                f"{self.root / MANIFEST} does not say which items task {task!r} has",
                fix=f"{near(task, self.manifest.tasks)} {pull_hint(self.root)}".strip(),
            )
        if (known.items, known.sha256) != (items, digest):
            found = f"{items} items, sha256 {digest}"
            expected = f"{known.items} items, sha256 {known.sha256}"
            raise SuiteError(
                f"task {task!r} does not ask what was pulled into {self.root}",
                [Defect(where=f"{self.root / MANIFEST}: tasks.{task}", found=found, expected=expected)],
                fix="The data or the task's template changed since. Pull again if that is meant.",
            )

    def _split(self, name: str, config: str | None, split: str) -> Any:
        import datasets
        import pyarrow.parquet

        file = f"{config or DEFAULT_CONFIG}/{split}.parquet"
        dataset = self.manifest.datasets.get(name)
        if dataset is None or file not in dataset.files:
            what = f"dataset {name}" if dataset is None else f"{file} of dataset {name}"
            raise SuiteError(f"{self.root} does not hold {what}", fix=pull_hint(self.root))
        path = self.root / name / file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SuiteError(f"{path} cannot be read: {error.strerror or error}", fix=pull_hint(self.root)) from error
        found = hashlib.sha256(data).hexdigest()
        if found != dataset.files[file].sha256:
            defect = Defect(where=str(path), found=f"sha256 {found}", expected=dataset.files[file].sha256)
            raise SuiteError("vendored data was changed or damaged", [defect], fix=pull_hint(self.root))
        return datasets.Dataset(pyarrow.parquet.read_table(pyarrow.BufferReader(data)))


def read_manifest(root: Path) -> Manifest:
    """The manifest of a data folder."""
    path = root / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SuiteError(f"{path} cannot be read: {error.strerror or error}", fix=pull_hint(root)) from error
    except ValidationError as error:
        defects = [
            Defect(
                where=f"{path}: {'.'.join(map(str, each['loc']))}", found=repr(each["input"])[:80], expected=each["msg"]
            )
            for each in error.errors()
        ]
        raise SuiteError(f"{path} is not a manifest", defects, fix=pull_hint(root)) from error


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Put the manifest in place in one step."""
    text = json.dumps(manifest.model_dump(by_alias=True), indent=2, sort_keys=True) + "\n"
    temporary = root / f".{MANIFEST}.{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(root / MANIFEST)


def write_split(root: Path, name: str, config: str | None, split: str, rows: Any) -> tuple[str, Split]:
    """Write one split of a dataset; returns its entry in the manifest."""
    file = f"{config or DEFAULT_CONFIG}/{split}.parquet"
    path = root / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path)
    return file, Split(rows=len(rows), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def pull_hint(root: Path) -> str:
    """What to do where data is missing."""
    return f"Where there is a network: `unlearn-guard data pull SUITE --data-dir {root}`; then copy the folder."
