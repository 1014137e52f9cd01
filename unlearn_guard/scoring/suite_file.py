"""A suite's file as its keys may be written, and what is wrong with one, by line."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, SuiteError, near
from unlearn_guard.reading.strict_yaml import Document, parse
from unlearn_guard.scoring.corpus import CorporaModel, SourceModel
from unlearn_guard.scoring.yaml_file import text_of

CALIBRATION_SAMPLES = 128
"""How many calibration texts GPTQ and AWQ take where a suite does not say."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Text = Annotated[str, Field(min_length=1, max_length=4000)]


class TaskModel(_Strict):
    """One entry under `forget` or `retain`."""

    task: _Text
    metric: _Text
    chance: Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]
    floor: Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)] | None = None
    because: _Text | None = None
    """Whose word the floor is."""
    pairs: _Text | None = None
    measure: Literal["model_utility"] | None = None
    phrasing: Literal["trained", "held_out"] = "trained"
    """Of a forget task: whether it asks in words that no corpus to unlearn has."""


class ProbeModel(_Strict):
    """One entry under `probe`."""

    task: _Text
    metric: _Text
    measure: Literal["privleak", "forget_quality", "mia_auc"] | None = None
    """Without one the probe's own score is all that it says."""
    retrained: Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)] | None = None


class CalibrationModel(_Strict):
    """The key `calibration`: a file, or the retain tasks."""

    file: _Text | None = None
    tasks: Literal["retain"] | None = None
    samples: Annotated[int, Field(ge=1, le=4096)] = CALIBRATION_SAMPLES


class SuiteFile(_Strict):
    """NAME.yaml, top to bottom."""

    version: Literal[1]
    name: _Text
    title: _Text
    description: _Text
    forget: Annotated[list[TaskModel], Field(min_length=1)]
    retain: Annotated[list[TaskModel], Field(min_length=1)]
    probe: list[ProbeModel] = []
    include: list[_Text] = []
    calibration: CalibrationModel | None = None
    unlearn: CorporaModel | None = None


def read_document(path: Path) -> Document:
    """The file's plain values and their lines. Raises SuiteError with all that is wrong with it as YAML, by line."""
    document = parse(text_of(path), str(path))
    if document.defects:
        raise SuiteError(f"{path} cannot be read", document.defects)
    if not isinstance(document.value, dict):
        found = "an empty file" if document.value is None else f"a {type(document.value).__name__}"
        defect = Defect(where=str(path), found=found, expected="`key: value`")
        raise SuiteError(f"{path} does not hold a mapping", [defect])
    return document


def suite_file(document: Document) -> SuiteFile:
    """The file's content, every value of its own type. Raises SuiteError with all that is not, by line."""
    try:
        return SuiteFile.model_validate(document.value)
    except ValidationError as error:
        defects = [_defect(document, each) for each in error.errors()]
        raise SuiteError(f"{document.name} is not a valid suite", defects) from error


def _defect(document: Document, error: Any) -> Defect:
    """A pydantic error as the guard reports one."""
    location = tuple(error["loc"])
    where = f"{document.where(location)}: {'.'.join(str(part) for part in location)}"
    if error["type"] == "extra_forbidden":
        known = _models(location)[len(location) - 1].model_fields
        return Defect(
            where=where, found="an unknown key", expected="one that is known", fix=near(str(location[-1]), known)
        )
    if error["type"] == "missing":
        return Defect(where=where, found="nothing", expected="a value: this key is required")
    hint = ""
    value = error["input"]
    fraction = location[-1] in ("chance", "floor") and isinstance(value, int | float) and math.isfinite(value)
    if fraction and 1 <= value <= 100:
        hint = f"A fraction: write {value / 100}, not {value}."
    return Defect(where=where, found=repr(value)[:80], expected=error["msg"].lower(), fix=hint)


def _models(location: Sequence[str | int]) -> tuple[type[BaseModel], ...]:
    """What the file's nested mappings are, from the outside in; a list's index stands between two."""
    if location[0] == "unlearn":
        return (SuiteFile, CorporaModel, SourceModel, SourceModel, SourceModel)
    return (SuiteFile, CalibrationModel, ProbeModel if location[0] == "probe" else TaskModel)
