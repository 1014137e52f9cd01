"""`weights/lineage.PRECISION.json`: what was found of each layer of a ready-made quantized model."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from unlearn_guard.reading import strict_json
from unlearn_guard.records import LayerLineage
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.of_models import read_of

_SCHEMA = "unlearn-guard.lineage/1"


class _File(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    schema_: Literal["unlearn-guard.lineage/1"] = Field(alias="schema")
    candidate: str
    artifact: str
    layers: tuple[LayerLineage, ...] = Field(min_length=1)


def name_of(precision: str) -> str:
    """The file of a precision."""
    return f"lineage.{precision}.json"


def write_lineage(
    folder: Path, precision: str, layers: Sequence[LayerLineage], *, candidate: str, artifact: str
) -> None:
    """Write what was found; `candidate` and `artifact` are digests."""
    held = {"schema": _SCHEMA, "candidate": candidate, "artifact": artifact}
    data = strict_json.pretty({**held, "layers": [asdict(layer) for layer in layers]})
    write_bytes(folder / name_of(precision), data)


def read_lineage(path: Path, *, candidate: str, artifact: str) -> tuple[LayerLineage, ...]:
    """The layers, if they are of these two models; RunDirectoryError with every field at fault otherwise."""
    return read_of(path, _File, what="this run's lineage of an artifact", candidate=candidate, artifact=artifact).layers
