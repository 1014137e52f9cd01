"""`residue/<metric>.<task>.<precision>.json`: what was tried to have forgotten knowledge back, item by item."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reading import strict_json
from unlearn_guard.records import Trials
from unlearn_guard.runs.atomic import write_bytes


class _File(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    schema_: Literal["unlearn-guard.trials/1"] = Field(alias="schema")
    trials: Trials


def file_name(metric: str, task: str, precision: str) -> str:
    """The file of these trials; what a file name cannot hold is percent-encoded."""
    return ".".join(quote(part, safe="") for part in (metric, task, precision)) + ".json"


def write_trials(folder: Path, trials: Trials) -> None:
    """Write them into `folder`."""
    name = file_name(trials.metric, trials.task, trials.precision)
    content = {"schema": "unlearn-guard.trials/1", "trials": asdict(trials)}
    write_bytes(folder / name, strict_json.pretty(content))


def read_trials(path: Path) -> Trials:
    """The trials in a file, which is named as they are; RunDirectoryError with every field at fault otherwise."""
    try:
        data = path.read_bytes()
        strict_json.loads(data)
        trials = _File.model_validate_json(data).trials
    except ValidationError as error:
        fields = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise _refused(path, fields) from error
    except (OSError, ValueError) as error:
        raise _refused(path, [("file", str(error))]) from error
    expected = file_name(trials.metric, trials.task, trials.precision)
    if path.name != expected:
        raise _refused(path, [("file", f"trials that belong into {expected}")])
    return trials


def _refused(path: Path, problems: list[tuple[str, str]]) -> RunDirectoryError:
    defects = [Defect(where=where, found=what, expected="what `check` wrote") for where, what in problems]
    return RunDirectoryError(f"{path} does not hold trials of this run", defects, fix="Run the check again.")
