"""`cell.json`: what a cell of a comparison was to be, and what became of it.

A cell is a method, its hyperparameters, a suite and a seed. Its folder holds the candidate, the run directory
`run/`, and this file. It names the run by the digest of run.json, so that another run cannot stand in its place.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.runs.directory import RUN_FILE

NAME = "cell.json"
RUN = "run"
"""The run directory inside of a cell's folder."""

SCHEMA = "unlearn-guard.cell/1"
BEGUN, MEASURED, FAILED = "begun", "measured", "failed"


class CellFile(BaseModel):
    """One cell. `asked` is the digest of how it was to be checked, `settings` are the hyperparameters that were set.

    `run` is the digest of run.json where the state is `measured`, `error` the reason where it is `failed`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["unlearn-guard.cell/1"] = Field(alias="schema", default="unlearn-guard.cell/1")
    method: str
    suite: str
    seed: int
    settings: dict[str, str]
    asked: str
    state: Literal["begun", "measured", "failed"]
    run: str | None = None
    error: str | None = None
    seconds: float | None = Field(default=None, allow_inf_nan=False)
    peak_bytes: int | None = None


def write_cell(folder: Path, cell: CellFile) -> None:
    """Replace the cell's file; StorageError where it cannot be written."""
    write_bytes(folder / NAME, strict_json.pretty(cell.model_dump(by_alias=True)))


def read_cell(folder: Path) -> CellFile:
    """The cell's file. RunDirectoryError with every field at fault, and where state and content contradict."""
    try:
        data = (folder / NAME).read_bytes()
        strict_json.loads(data)
        cell = CellFile.model_validate_json(data)
    except ValidationError as error:
        raise _refused(folder, [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]) from error
    except (OSError, ValueError) as error:
        raise _refused(folder, [("file", str(error))]) from error
    if (cell.state == MEASURED) != (cell.run is not None):
        raise _refused(folder, [("run", f"{cell.run!r} in a cell that is {cell.state}")])
    if (cell.state == FAILED) != bool(cell.error):
        raise _refused(folder, [("error", f"{cell.error!r} in a cell that is {cell.state}")])
    return cell


def assert_run(folder: Path, cell: CellFile, *, shown: str, fix: str) -> None:
    """RunDirectoryError, naming the cell as `shown`, unless the folder holds the run that the cell measured."""
    path = folder / RUN / RUN_FILE
    digest = strict_json.digest(path.read_bytes()) if path.is_file() else "nothing"
    if digest != cell.run:
        raise RunDirectoryError(
            f"the run of {shown} was edited, replaced or removed after it was measured",
            [Defect(where=f"{shown}/{RUN}/{RUN_FILE}", found=digest[:19], expected=f"{str(cell.run)[:19]}...")],
            fix=fix,
        )


def _refused(folder: Path, problems: list[tuple[str, str]]) -> RunDirectoryError:
    defects = [Defect(where=where, found=found, expected="what `compare` wrote") for where, found in problems]
    return RunDirectoryError(f"{folder / NAME} is not a cell of a comparison", defects, fix="Run the compare again.")
