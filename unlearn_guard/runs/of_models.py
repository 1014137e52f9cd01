"""Files of a run directory that are about certain models: read only if they name them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.reading import strict_json

FileT = TypeVar("FileT", bound=BaseModel)


def read_of(path: Path, form: type[FileT], *, what: str, **digests: str) -> FileT:
    """The file, if it has this form and its fields of these names hold these digests; `what` says what it is to hold.

    RunDirectoryError with every field at fault otherwise.
    """
    try:
        data = path.read_bytes()
        strict_json.loads(data)
        file = form.model_validate_json(data)
    except ValidationError as error:
        fields = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise _refused(path, what, fields) from error
    except (OSError, ValueError) as error:
        raise _refused(path, what, [("file", str(error))]) from error
    claims = [(name, getattr(file, name), expected) for name, expected in digests.items()]
    if wrong := [(name, f"{found}, not {expected}") for name, found, expected in claims if found != expected]:
        raise _refused(path, what, wrong)
    return file


def _refused(path: Path, what: str, problems: Sequence[tuple[str, str]]) -> RunDirectoryError:
    defects = [Defect(where=where, found=found, expected="what `check` wrote") for where, found in problems]
    return RunDirectoryError(f"{path} does not hold {what}", defects, fix="Run the check again.")
