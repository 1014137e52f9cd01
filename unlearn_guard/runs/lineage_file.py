"""`weights/lineage.PRECISION.json`: what was found of each layer of a ready-made quantized model."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reading import strict_json
from unlearn_guard.records import LayerLineage
from unlearn_guard.runs.atomic import write_bytes

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
    try:
        data = path.read_bytes()
        strict_json.loads(data)
        file = _File.model_validate_json(data)
    except ValidationError as error:
        fields = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise _refused(path, fields) from error
    except (OSError, ValueError) as error:
        raise _refused(path, [("file", str(error))]) from error
    claims = (("candidate", file.candidate, candidate), ("artifact", file.artifact, artifact))
    wrong = [(name, f"{found}, not {expected}") for name, found, expected in claims if found != expected]
    if wrong:
        raise _refused(path, wrong)
    return file.layers


def _refused(path: Path, problems: Sequence[tuple[str, str]]) -> RunDirectoryError:
    defects = [Defect(where=where, found=what, expected="what `check` wrote") for where, what in problems]
    return RunDirectoryError(f"{path} does not hold this run's lineage of an artifact", defects, fix="Run check again.")
