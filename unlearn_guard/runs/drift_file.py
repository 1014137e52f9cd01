"""`weights/nf4.json`: how each layer's edit sits on base's NF4 grid, for the report's pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from unlearn_guard.reading import strict_json
from unlearn_guard.records import LayerDrift
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.of_models import read_of

NAME = "nf4.json"


class _File(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    schema_: Literal["unlearn-guard.weights/1"] = Field(alias="schema")
    base: str
    candidate: str
    layers: tuple[LayerDrift, ...]


def write_drift(folder: Path, layers: Sequence[LayerDrift], *, base: str, candidate: str) -> None:
    """Write the counts; `base` and `candidate` are the digests they compare."""
    held = {"schema": "unlearn-guard.weights/1", "base": base, "candidate": candidate}
    write_bytes(folder / NAME, strict_json.pretty({**held, "layers": [asdict(layer) for layer in layers]}))


def read_drift(path: Path, *, base: str, candidate: str) -> tuple[LayerDrift, ...]:
    """The counts, if they compare these two models; RunDirectoryError with every field at fault otherwise."""
    return read_of(path, _File, what="counts of this run's weights", base=base, candidate=candidate).layers
