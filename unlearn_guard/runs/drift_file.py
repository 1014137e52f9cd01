"""`weights/nf4.json`: how each layer's edit sits on base's NF4 grid, for the report's pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reading import strict_json
from unlearn_guard.records import LayerDrift
from unlearn_guard.runs.atomic import write_bytes

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
    try:
        data = path.read_bytes()
        strict_json.loads(data)
        file = _File.model_validate_json(data)
    except ValidationError as error:
        fields = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise _refused(path, fields) from error
    except (OSError, ValueError) as error:
        raise _refused(path, [("file", str(error))]) from error
    claims = (("base", file.base, base), ("candidate", file.candidate, candidate))
    wrong = [(name, f"{found}, not {expected}") for name, found, expected in claims if found != expected]
    if wrong:
        raise _refused(path, wrong)
    return file.layers


def _refused(path: Path, problems: Sequence[tuple[str, str]]) -> RunDirectoryError:
    defects = [Defect(where=where, found=what, expected="what `check` wrote") for where, what in problems]
    return RunDirectoryError(f"{path} does not hold counts of this run's weights", defects, fix="Run the check again.")
